"""How our pages look: one style, in the page itself; nothing else is loaded.

Contrast is at least 4.5 to 1 in both schemes (WCAG 2.2, 1.4.3), what is tapped at least 2.75rem
high (2.5.8 asks for 24 px).
"""

from __future__ import annotations

COMMON = """
:root{color-scheme:light dark;--back:#fdfdfc;--text:#1d2125;--soft:#59636e;--line:#e3e5e8;
--link:#0a58a8;--over:#f0f4f9;--folder:#b5690b;--file:#7b8794}
@media(prefers-color-scheme:dark){:root{--back:#15181b;--text:#e4e7ea;--soft:#a1abb5;--line:#2c3238;
--link:#8dbcff;--over:#1e2429;--folder:#e6b450;--file:#7f8b96}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:64rem;padding:1.5rem clamp(.75rem,3vw,2rem) 3rem;
background:var(--back);color:var(--text);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
-webkit-text-size-adjust:100%}
a{color:var(--link);text-decoration:none}
a:hover{text-decoration:underline}
a:focus-visible{outline:2px solid var(--link);outline-offset:2px;border-radius:4px}
table{width:100%;border-collapse:collapse}
th{font-weight:600;font-size:.875rem;color:var(--soft);text-align:left;white-space:nowrap}
td,th{border-bottom:1px solid var(--line);padding:0 .75rem}
tbody tr:hover{background:var(--over)}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.s{color:var(--soft)}
i{font-style:normal;font-size:.8em;background:var(--line);border-radius:3px;padding:0 .25em;
margin:0 .1em}
footer{color:var(--soft);font-size:.875rem;padding:1rem .75rem}
"""

LISTING = (
    COMMON
    + """
nav ol{list-style:none;display:flex;flex-wrap:wrap;margin:0;padding:0;align-items:center}
nav li{display:flex;align-items:center;min-width:0}
nav li a{padding:.6rem .5rem;overflow-wrap:anywhere}
nav li:first-child a{padding-left:.75rem}
nav li::after{content:"/";color:var(--soft)}
h1{font-size:1.5rem;line-height:1.25;margin:.25rem 0 .75rem;padding:0 .75rem;overflow-wrap:anywhere}
th a{display:inline-block;padding:.6rem 0;color:inherit}
th[aria-sort] a{color:var(--text)}
th u{display:inline-block;width:1em;text-decoration:none;text-align:center}
th.n a{display:inline-flex;flex-direction:row-reverse}
td:first-child{padding:0}
td a,td .l{display:flex;align-items:center;gap:.7rem;padding:.55rem .75rem;min-height:2.75rem;
overflow-wrap:anywhere}
td:nth-child(n+2){color:var(--soft);font-size:.9375rem}
bdi{min-width:0}
svg[hidden]{position:absolute;width:0;height:0}
svg{flex:none;width:1.25rem;height:1.25rem;fill:var(--file)}
.d svg{fill:var(--folder)}
.d bdi{font-weight:500}
.e{padding:3rem .75rem;text-align:center;color:var(--soft)}
.p{display:flex;gap:.5rem;justify-content:center;align-items:center;flex-wrap:wrap;padding:1rem}
.p a,.p b,.p span{padding:.6rem .9rem;min-width:2.75rem;text-align:center;border-radius:6px}
.p a{border:1px solid var(--line)}
.p b{background:var(--over)}
@media(max-width:38rem){
body{padding-top:.75rem}
thead tr{display:flex;gap:1.25rem;padding:0 .75rem;border-bottom:1px solid var(--line)}
thead th{border:0;padding:0}
tbody tr{display:grid;grid-template-columns:auto 1fr;border-bottom:1px solid var(--line)}
tbody td{border:0}
td:first-child{grid-column:1/3}
td a,td .l{padding-bottom:1.65rem;padding-top:.7rem;align-items:flex-start}
.u td a{padding-bottom:.7rem}
.u td:nth-child(n+2){display:none}
td:nth-child(n+2){margin-top:-1.6rem;padding:0 0 .55rem;font-size:.8125rem;text-align:left;
pointer-events:none}
td:nth-child(2){padding-left:2.7rem}
td:nth-child(2):not(:empty)::after{content:"·";padding:0 .4em}
}
"""
)

STATUS = (
    COMMON
    + """
body{max-width:80rem}
h1{font-size:1.5rem;margin:0 0 .25rem}
h2{font-size:1.125rem;margin:2rem 0 .5rem}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(11.25rem,44%),1fr));gap:.75rem;
margin:1.25rem 0}
dl div{border:1px solid var(--line);border-radius:8px;padding:.75rem 1rem}
dt{color:var(--soft);font-size:.875rem}
dd{margin:0;font-size:1.5rem;line-height:1.3;font-variant-numeric:tabular-nums;white-space:nowrap}
dd small{white-space:normal;font-size:.875rem;color:var(--soft)}
.w{overflow-x:auto}
td,th{padding:.5rem .75rem}
td{font-size:.9375rem}
.f{overflow-wrap:anywhere;min-width:12rem}
progress{width:6rem;height:.5rem;accent-color:var(--link);vertical-align:middle}
p{margin:.25rem 0}
"""
)
