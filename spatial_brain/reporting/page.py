"""The page that a report is put into: one file, no network, two themes."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #f5f6f8; --card: #fdfdfe; --ink: #1f2430; --faint: #69707d;
  --rule: #d8dce4; --accent: #2f78c4; --tint: #eaf2fb;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12151b; --card: #1a1e26; --ink: #e8eaef; --faint: #9aa2b0;
    --rule: #343b47; --accent: #6aa8ea; --tint: #1d2b3c;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto,
    "Helvetica Neue", "Noto Sans", sans-serif;
}
main, header { max-width: 1080px; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 3rem; }
.overline {
  font-size: .78rem; font-weight: 600; letter-spacing: .09em;
  text-transform: uppercase; color: var(--accent); margin: 0;
}
h1 {
  font-size: clamp(1.7rem, 5vw, 2.5rem); line-height: 1.15;
  letter-spacing: -.02em; margin: .35rem 0 .5rem; text-wrap: balance;
}
h2 {
  font-size: 1.3rem; letter-spacing: -.01em; margin: 3rem 0 .75rem;
  scroll-margin-top: 1rem;
}
p { margin: 0 0 1rem; max-width: 44rem; text-wrap: pretty; }
.subtitle, figcaption, caption, .note, dt { color: var(--faint); }
nav { display: flex; gap: .5rem; overflow-x: auto; margin: 1.5rem 0 0;
  padding-bottom: .5rem; }
nav a {
  white-space: nowrap; font-size: .85rem; color: var(--ink);
  text-decoration: none; padding: .25rem .8rem; border-radius: 99px;
  border: 1px solid var(--rule); background: var(--card);
}
nav a:hover, nav a:focus-visible { border-color: var(--accent); }
.tiles { display: grid; gap: .9rem; margin: 1.75rem 0 0;
  grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.tile, .card {
  background: var(--card); border: 1px solid var(--rule);
  border-radius: 12px;
}
.tile { padding: .9rem 1.1rem; }
.tile b { display: block; font-size: 1.75rem; line-height: 1.2;
  letter-spacing: -.02em; font-variant-numeric: tabular-nums; }
.tile span { font-size: .85rem; color: var(--faint); display: block;
  line-height: 1.35; }
.tile.main { background: var(--tint); border-color: var(--accent); }
.tile.main b { color: var(--accent); }
.card { padding: 1rem 1.1rem; margin: 0 0 1rem; }
.grid { display: grid; gap: 1rem; margin-bottom: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
.grid.small { grid-template-columns:
  repeat(auto-fit, minmax(min(100%, 300px), 1fr)); }
.grid .card { margin: 0; }
figure { margin: 0; }
figure svg, figure img { display: block; width: 100%; height: auto; }
figure audio { display: block; width: 100%; }
.wide { max-width: 820px; }
.single { max-width: 560px; }
figcaption { font-size: .88rem; margin-top: .6rem; line-height: 1.45; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem;
  font-variant-numeric: tabular-nums; }
caption { caption-side: bottom; text-align: left; font-size: .88rem;
  padding-top: .7rem; line-height: 1.45; }
th, td { padding: .5rem .65rem; text-align: right; white-space: nowrap; }
th { font-weight: 600; color: var(--faint); font-size: .82rem;
  white-space: normal; line-height: 1.3;
  border-bottom: 1px solid var(--rule); vertical-align: bottom; }
td.text, th.text { text-align: left; }
tbody tr + tr td { border-top: 1px solid var(--rule); }
tr.main td { font-weight: 650; background: var(--tint); }
dl { display: grid; grid-template-columns: max-content 1fr;
  gap: .3rem 1.2rem; margin: 0; font-size: .92rem; }
dd { margin: 0; overflow-wrap: anywhere; }
pre { margin: 0; overflow-x: auto; font-size: .85rem; line-height: 1.5;
  font-family: ui-monospace, "SF Mono", "Cascadia Code", Menlo, monospace; }
summary { cursor: pointer; font-weight: 600; }
details pre { margin-top: .8rem; max-height: 30rem; overflow: auto; }
footer { max-width: 1080px; margin: 3rem auto 0; font-size: .85rem;
  padding: 1rem 1.25rem 3rem; color: var(--faint); }
@media (max-width: 480px) {
  th, td { padding: .45rem .55rem; } dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .5rem; } header { padding-top: 1.75rem; }
}
@media print { nav { display: none; } .card { break-inside: avoid; } }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<header>
<p class="overline">SpatialBrain</p>
<h1>{title}</h1>
{subtitle}
{tiles}
{navigation}
</header>
<main>
{content}
</main>
<footer>{footer}</footer>
</body>
</html>
"""
