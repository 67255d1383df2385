"""What `import timm_vipriors` adds to `import timm`.

python tests/benchmarks/import_time.py
"""

import subprocess
import sys

from side_by_side import Report, circumstances, make_parser

CODE = """
import sys, time
start = time.perf_counter()
import timm
middle = time.perf_counter()
import timm_vipriors
print(time.perf_counter() - middle, middle - start)
late = {'scipy', 'matplotlib', 'sklearn', 'pandas', 'pyarrow'} & set(sys.modules)
assert not late, f'loaded before they are needed: {late}'
"""


def main() -> None:
    parser = make_parser(__doc__, rounds=5)
    args = parser.parse_args()
    values = []
    for round in range(args.rounds + 1):
        done = subprocess.run([sys.executable, '-c', CODE], check=True, text=True, stdout=subprocess.PIPE)
        if round:  # the first is warm-up
            values.append([float(x) for x in done.stdout.split()])
    ours, timms = zip(*values, strict=True)
    report = Report('Import', circumstances(), args.json)
    report.add('import', ours, timms, names=('timm_vipriors after timm', 'timm'), asked='< 50 ms')
    report.finish()


if __name__ == '__main__':
    main()
