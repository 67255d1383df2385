"""An interpreter that starts in no time: each `-m timm_vipriors …` runs in a fork of a process with torch loaded.

`python fork_server.py SOCKET` serves. With the variable FORK_SERVER=SOCKET, `fork_server.py -m timm_vipriors …` is a
client that ends with the command's status; its standard streams, folder and variables are those of the command.
"""

import json
import os
import signal
import socket
import sys
import traceback


def serve(path: str) -> None:
    import timm_vipriors.inference
    import timm_vipriors.scripts.train  # noqa: F401
    from timm_vipriors.cli import main

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        while True:
            client, _ = server.accept()
            text, streams, *_ = socket.recv_fds(client, 2**20, 3)
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for number, stream in enumerate(streams):
                    os.dup2(stream, number)
                sys.stdout, sys.stderr = map(os.fdopen, (1, 2), 'ww')
                command = json.loads(text)
                os.chdir(command['folder'])
                os.environ.clear()
                os.environ.update(command['variables'])
                try:
                    status = main(command['args'])
                except SystemExit as e:
                    status = e.code
                except BaseException:
                    traceback.print_exc()
                    status = 1
                sys.stdout.flush()
                sys.stderr.flush()
                client.sendall(str(status or 0).encode())
                os._exit(0)
            for stream in streams:
                os.close(stream)
            client.close()


def ask(path: str, args: list[str]) -> int:
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        command = dict(args=args, folder=os.getcwd(), variables=dict(os.environ))
        socket.send_fds(server, [json.dumps(command).encode()], [0, 1, 2])
        return int(server.recv(16) or 1)


if __name__ == '__main__':
    if sys.argv[1:3] == ['-m', 'timm_vipriors']:
        sys.exit(ask(os.environ['FORK_SERVER'], sys.argv[3:]))
    serve(sys.argv[1])
