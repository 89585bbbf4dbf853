// Draws what a command printed as a terminal window, for a README. usage: COMMAND 2>&1 | tools/node.sh tools/terminal-svg.ts 'TITLE' > F.svg
import { text } from 'node:stream/consumers'

const SIZE = 14
const LINE = 20
/** Width of a character of a monospace font, as a part of its size. */
const ADVANCE = 0.602
const MARGIN = 20
const BAR = 36

const escapeXml = (s: string): string => s.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')

const title = process.argv[2] ?? ''
const lines = (await text(process.stdin)).trimEnd().split('\n')
const columns = Math.max(...lines.map((l) => [...l].length))
const width = Math.ceil(columns * SIZE * ADVANCE) + 2 * MARGIN
const height = lines.length * LINE + BAR + MARGIN
const rows = lines.map(
  (line, n) => `<text x="${MARGIN}" y="${BAR + (n + 1) * LINE - 6}" xml:space="preserve">${escapeXml(line)}</text>`,
)
process.stdout.write(`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">
<title>${escapeXml(title)}</title>
<rect width="100%" height="100%" rx="8" fill="#14181f"/>
<text x="${width / 2}" y="23" text-anchor="middle" font-family="sans-serif" font-size="13" fill="#8b949e">${escapeXml(title)}</text>
<g font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="${SIZE}" fill="#d7dde5">
${rows.join('\n')}
</g>
</svg>
`)
