"""A page of a report, read: every page that a test builds is checked to be sound HTML that needs nothing else."""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

from timm_vipriors.report import build_report

VOID = {'meta', 'img', 'br'}
TAGS = set(
    'html head meta title style body main header footer nav section div h1 h2 h3 h4 p ul li dl dt dd a b strong code '
    'span bdi table caption thead tbody tr th td details summary figure figcaption img '
    'svg defs g path use text clippath rect'.split()
)


class Page(HTMLParser):
    """Checks what holds for every page, and collects elements and texts by element."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []  # tags are balanced
        assert {tag for tag, _ in self.elements} <= TAGS
        for tag, attributes in self.elements:
            assert not any(name.startswith('on') for name in attributes), (tag, attributes)
            assert attributes.get('src', 'data:image/jpeg;base64,').startswith('data:image/jpeg;base64,')
            assert attributes.get('href', '#').startswith('#')
        ids = [attributes['id'] for _, attributes in self.elements if 'id' in attributes]
        assert len(ids) == len(set(ids))
        assert {attributes['href'][1:] for _, attributes in self.elements if 'href' in attributes} <= set(ids)
        assert not re.search(r'https?://|//[a-z]|url\((?!#)|@import', re.sub(r'data:[^"]*', '', text))
        for drawing in re.findall(r'<svg.*?</svg>', text, re.DOTALL):
            ET.fromstring(drawing)
        policies = [a['content'] for a in self.all('meta') if a.get('http-equiv') == 'Content-Security-Policy']
        assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
        assert len(self.texts_of('h1')) == 1

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else '', data))

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]

    def texts_of(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def build(*sources, **options) -> str:
    text = build_report(sources, **options)
    Page(text)
    return text


def headings(text: str) -> list[str]:
    return Page(text).texts_of('h3')


def cells(text: str, caption: str) -> list[list[str]]:
    """The texts of a table's rows."""
    body = text.split(f'<caption>{caption}</caption>')[1].split('</table>')[0].split('<tbody>')[1]
    return [
        [re.sub(r'<[^>]+>', '', cell).strip() for cell in re.findall(r'<t[dh].*?>(.*?)</t[dh]>', row, re.DOTALL)]
        for row in re.findall(r'<tr.*?</tr>', body, re.DOTALL)
    ]
