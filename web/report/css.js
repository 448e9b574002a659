// @ts-check
// Colours are safe for the common kinds of colour blindness and differ in lightness; every look also has a mark.
// The host's variables come first; the fallbacks serve the stand-alone report.
export const CSS = `
.wanattn {
  --w-text: var(--input-text, #d7dae0);
  --w-back: var(--comfy-menu-bg, #26282d);
  --w-line: color-mix(in srgb, var(--w-text) 22%, transparent);
  --w-soft: color-mix(in srgb, var(--w-text) 9%, transparent);
  --w-dim: color-mix(in srgb, var(--w-text) 72%, var(--w-back));
  --w-warn: #f5bd4f; --w-alarm: #ff8a75; --w-good: #6fd3a8; --w-ink: #10131a;
  --w-cudnn: #4b9be8; --w-flash: #f2b632; --w-efficient: #1fa884; --w-math: #e8563a;
  --w-other0: #a3adba; --w-other1: #d08bd6; --w-other2: #e9e5a0;
  --w-0: #3b4f81; --w-1: #4f6590; --w-2: #6d7d93; --w-3: #8f9590; --w-4: #b5ae83; --w-5: #dac96a; --w-6: #ffe957;
  box-sizing: border-box; contain: strict; height: 100%; min-height: 220px; padding: 10px 12px; overflow: auto; overscroll-behavior: contain;
  color: var(--w-text); background: var(--w-back); border-radius: 8px;
  font: 12px/1.45 Inter, system-ui, sans-serif; font-variant-numeric: tabular-nums; text-align: start; cursor: default;
  user-select: text; -webkit-user-select: text; scrollbar-width: thin; scrollbar-gutter: stable; scrollbar-color: var(--w-dim) var(--w-soft);
}
.wanattn[data-tone="light"] {
  --w-text: var(--input-text, #1f2329); --w-back: var(--comfy-menu-bg, #f6f7f9);
  --w-warn: #8a4b00; --w-alarm: #b3200a; --w-good: #00694c; --w-ink: #ffffff;
  --w-cudnn: #1f6fc4; --w-flash: #e8a200; --w-efficient: #0a8f6c; --w-math: #c23a17;
  --w-other0: #7b8694; --w-other1: #a24fab; --w-other2: #8b8326;
  --w-0: #f3e26b; --w-1: #d6c876; --w-2: #b6b083; --w-3: #93968a; --w-4: #6f7c8e; --w-5: #4d6290; --w-6: #2b4585;
}
.wanattn *, .wanattn *::before { box-sizing: border-box; }
.wanattn p, .wanattn ul, .wanattn fieldset { margin: 0; padding: 0; border: 0; list-style: none; min-width: 0; }
.wanattn [hidden] { display: none !important; }
.wanattn .dim { color: var(--w-dim); }
.wanattn .warning, .wanattn .fallbacks { color: var(--w-warn); }
.wanattn .alarm { color: var(--w-alarm); font-weight: 600; }
.wanattn .failure { color: var(--w-alarm); font-weight: 600; }
.wanattn .fine, .wanattn .gain { color: var(--w-good); }
.wanattn p:empty, .wanattn .headline:empty { display: none; }
.wanattn:focus-visible { outline: 2px solid var(--w-text); outline-offset: -2px; }
.wanattn .spoken { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.wanattn :focus-visible { outline: 2px solid var(--w-text); outline-offset: 2px; }
.wanattn header > *, .wanattn .machine, .wanattn .unseen, .wanattn .facts { overflow-wrap: anywhere; }

.wanattn .state { display: flex; flex-wrap: wrap; gap: 0 6px; align-items: baseline; }
.wanattn .state b { font-weight: 600; }
.wanattn .headline { margin: 1px 0 6px; font-size: 17px; line-height: 1.25; font-weight: 650; }
.wanattn .share { display: block; width: 100%; height: 8px; border-radius: 4px; margin-bottom: 6px; }
.wanattn [data-state="running"] .sign, .wanattn[data-state="running"] .sign { color: var(--w-good); }
.wanattn [data-state="failed"] .sign, .wanattn[data-state="failed"] .sign { color: var(--w-alarm); }

.wanattn .key { display: flex; flex-wrap: wrap; gap: 4px 14px; justify-content: space-between; align-items: center; margin-top: 10px; }
.wanattn .legend { display: flex; flex-wrap: wrap; gap: 2px 12px; min-width: 0; }
.wanattn .item { overflow-wrap: anywhere; } .wanattn .ran { white-space: nowrap; } .wanattn .long .ran { white-space: normal; }
.wanattn .item { display: inline-flex; align-items: center; gap: 5px; }
.wanattn .swatch { flex: none; width: 12px; height: 12px; vertical-align: -2px; }
.wanattn .framed { flex: none; width: 12px; height: 12px; border: 2px solid var(--w-text); }
.wanattn .choice { display: flex; align-items: center; }
.wanattn .choice legend { float: left; padding: 0 6px 0 0; color: var(--w-dim); }
.wanattn .choice label { position: relative; border: 1px solid var(--w-line); margin-left: -1px; }
.wanattn .choice label span { display: block; padding: 1px 8px; }
.wanattn .choice label:first-of-type { border-radius: 5px 0 0 5px; margin-left: 0; }
.wanattn .choice label:last-of-type { border-radius: 0 5px 5px 0; }
.wanattn .choice input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: pointer; }
.wanattn .choice input:checked + span { background: var(--w-text); color: var(--w-back); font-weight: 600; }
.wanattn .choice input:focus-visible + span { outline: 2px solid var(--w-text); outline-offset: 2px; }

.wanattn .grid, .wanattn .steps { margin-top: 8px; }
.wanattn .label { display: flex; flex-wrap: wrap; gap: 0 8px; align-items: baseline; margin-bottom: 3px; }
.wanattn .label b { font-weight: 600; overflow-wrap: anywhere; }
.wanattn .end { margin-left: auto; }
.wanattn .cells, .wanattn .bars { display: block; width: 100%; border-radius: 2px; touch-action: pan-x pan-y; }
.wanattn .cells { cursor: crosshair; overflow: visible; }
.wanattn .fill { stroke: none; }
.wanattn .mark { fill: none; stroke: var(--w-ink); stroke-opacity: 0.5; stroke-width: 1; vector-effect: non-scaling-stroke; }
.wanattn .gaps { fill: none; stroke: var(--w-back); stroke-width: 1; vector-effect: non-scaling-stroke; }
.wanattn .frame { fill: none; stroke: var(--w-text); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.wanattn .cursor { fill: none; stroke: var(--w-text); stroke-width: 2.5; vector-effect: non-scaling-stroke; pointer-events: none; }
.wanattn .empty { fill: var(--w-soft); }
.wanattn .cudnn { fill: var(--w-cudnn); } .wanattn .flash { fill: var(--w-flash); }
.wanattn .efficient { fill: var(--w-efficient); } .wanattn .math { fill: var(--w-math); }
.wanattn .other0 { fill: var(--w-other0); } .wanattn .other1 { fill: var(--w-other1); } .wanattn .other2 { fill: var(--w-other2); }
.wanattn .level0 { fill: var(--w-0); } .wanattn .level1 { fill: var(--w-1); } .wanattn .level2 { fill: var(--w-2); }
.wanattn .level3 { fill: var(--w-3); } .wanattn .level4 { fill: var(--w-4); } .wanattn .level5 { fill: var(--w-5); }
.wanattn .level6 { fill: var(--w-6); }
.wanattn .bar { fill: var(--w-dim); } .wanattn .now { fill: var(--w-text); }
.wanattn .ramp { display: inline-flex; align-items: center; }
.wanattn .ramp .swatch { margin-right: -1px; }
.wanattn .ramp span:first-child { margin-right: 5px; } .wanattn .ramp span:last-child { margin-left: 6px; }
.wanattn .words { max-height: 120px; overflow: auto; margin-top: 3px; padding-left: 8px; border-left: 2px solid var(--w-line); }

.wanattn .facts {
  display: flex; flex-wrap: wrap; align-content: start; gap: 0 12px; min-height: calc(1.45em + 10px); max-height: 8em; overflow: auto;
  padding: 5px 8px; background: color-mix(in srgb, var(--w-text) 9%, var(--w-back)); border-radius: 5px;
}
.wanattn .facts .place { font-weight: 600; }
.wanattn .facts span { max-width: 100%; }

.wanattn .rows { margin-top: 10px; }
.wanattn .scroll { overflow-x: auto; }
.wanattn table { width: 100%; border-collapse: collapse; font-size: 0.92em; }
.wanattn th, .wanattn td { padding: 3px 5px; text-align: start; vertical-align: top; font-weight: 400; border-top: 1px solid var(--w-line); }
.wanattn th { border-top: 0; color: var(--w-dim); white-space: nowrap; }
.wanattn th[title]:not([title=""]) { text-decoration: underline dotted; text-underline-offset: 3px; cursor: help; }
.wanattn td { max-width: 24em; overflow-wrap: break-word; }
.wanattn td.long { min-width: 14em; overflow-wrap: anywhere; }
.wanattn .size { white-space: nowrap; } .wanattn .long .size { white-space: normal; }
.wanattn .size + span { display: block; color: var(--w-dim); }
.wanattn .number { text-align: end; white-space: nowrap; }
.wanattn .ran { display: inline-flex; gap: 5px; align-items: baseline; margin-right: 6px; }
.wanattn .reasons td { border-top: 0; padding: 0 6px 6px 12px; color: var(--w-dim); }
.wanattn .reasons li::before { content: "– "; }
.wanattn .machine, .wanattn .devices, .wanattn .unseen { margin-top: 10px; } .wanattn .machine + .unseen { margin-top: 2px; }

.wanattn .plan { margin-bottom: 4px; }
.wanattn .gain { font-weight: 600; } .wanattn .gain[data-slower] { color: var(--w-warn); }
.wanattn .advice:not(:empty)::before { content: "→ "; }
.wanattn .forecast caption { text-align: start; }

.wanattn .foot {
  position: sticky; bottom: -10px; z-index: 2; margin: 10px -2px -10px; padding: 6px 2px 8px; background: var(--w-back);
}
.wanattn footer { display: flex; flex-wrap: wrap; gap: 6px; align-items: center; margin-top: 6px; }
.wanattn.bench footer { margin-top: 10px; }
.wanattn button { font: inherit; color: inherit; background: var(--w-soft); border: 1px solid var(--w-line); border-radius: 6px; padding: 3px 10px; cursor: pointer; }
.wanattn button:hover { background: var(--w-line); }
.wanattn .why { padding: 0 5px; border-radius: 4px; font-size: 11px; line-height: 1.35; }
.wanattn .why[aria-expanded="true"] { background: var(--w-line); }

.wanattn section.place { margin-top: 10px; container-type: inline-size; }
.wanattn .race { display: grid; grid-template-columns: max-content minmax(60px, 1fr) max-content max-content; gap: 0 8px; align-items: center; }
.wanattn .race li { display: grid; grid-template-columns: subgrid; grid-column: 1 / -1; align-items: center; padding: 3px 0; border-top: 1px solid var(--w-line); }
.wanattn .race .name { max-width: 12em; overflow-wrap: anywhere; }
.wanattn .race .track { width: 100%; height: 14px; background: var(--w-soft); border-radius: 2px; overflow: visible; }
.wanattn .race .whisker { fill: none; stroke: var(--w-text); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.wanattn .race .ms, .wanattn .race .verdict { text-align: end; white-space: nowrap; }
.wanattn .race .ms { font-weight: 600; }
.wanattn .race .verdict { min-width: 6.5em; }
.wanattn .race .facts-line { grid-column: 1 / -1; font-size: 11px; overflow-wrap: anywhere; }
.wanattn .race .facts-line:empty { display: none; }
@container (max-width: 380px) {
  .wanattn .race { grid-template-columns: 1fr max-content; }
  .wanattn .race .track { grid-area: 2 / 1 / auto / -1; }
  .wanattn .race .verdict { grid-column: 1 / -1; text-align: start; }
}
.wanattn .rest { margin-top: 10px; overflow-wrap: anywhere; }
.wanattn .rest li::before { content: "– "; }

.wanattn.line { min-height: 24px; padding: 4px 8px; }
.wanattn.line .now { display: flex; align-items: baseline; gap: 6px; }
.wanattn.line b, .wanattn.line .warning { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-weight: 600; }
.wanattn.line .warning { flex: none; max-width: 50%; }
.wanattn.line p, .wanattn.line li { overflow-wrap: anywhere; }

.wanattn.text { min-height: 120px; }
.wanattn.text pre { margin: 0; font: 11px/1.45 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
.wanattn.text .files { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: center; margin-top: 6px; }
.wanattn.text { container-type: size; }
@container (max-width: 520px) { .wanattn.text :is(th, td):nth-child(8):not([colspan]) { display: none; } }
.wanattn.text details { margin-top: 8px; }
.wanattn a { color: inherit; overflow-wrap: anywhere; }

.wanattn.overview { border-radius: 0; }
.wanattn .cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); gap: 14px; align-items: start; }
.wanattn .card > .wanattn { height: 460px; resize: vertical; border: 1px solid var(--w-line); }
.wanattn .card.line > .wanattn { contain: content; height: auto; min-height: 0; resize: none; }

.wanattn.page { contain: none; height: auto; min-height: 100vh; border-radius: 0; padding: 24px max(16px, calc(50% - 480px)); font-size: 14px; }
.wanattn.page .headline { font-size: 22px; }
.wanattn.page .foot { bottom: 0; }
.wanattn .shot { display: block; max-width: 100%; margin-top: 8px; border-radius: 4px; }
@media print {
  .wanattn.page {
    --input-text: #1f2329; --comfy-menu-bg: #fff; --w-warn: #8a4b00; --w-alarm: #b3200a; --w-good: #00694c; --w-text: #1f2329; --w-back: #fff;
    min-height: 0; padding: 0; background: #fff; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .wanattn.page .foot, .wanattn.page .choice, .wanattn.page .why { display: none; }
  .wanattn.page .reasons[hidden] { display: table-row !important; }
  .wanattn.page .grid, .wanattn.page .steps, .wanattn.page tr { break-inside: avoid; }
  .wanattn.page .scroll { overflow: visible; }
}
`;
