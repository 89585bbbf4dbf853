import { readFileSync, readdirSync } from 'node:fs'
import { zstdDecompressSync, zstdDecompress } from 'node:zlib'
import { promisify } from 'node:util'
import { each } from './src/node/storage/each.ts'
const dir = '/tmp/disk/coldhome/cas'
const files = readdirSync(dir).flatMap((d) => readdirSync(`${dir}/${d}`).map((f) => readFileSync(`${dir}/${d}/${f}`))).filter((f) => f[0] === 2)
const bodies = files.map((f) => f.subarray(1))
const dz = promisify(zstdDecompress)
for (let r = 0; r < 3; r++) {
  for (const cs of [16 << 10, 128 << 10, (128 << 10) + 64, 256 << 10]) {
    const t = performance.now()
    let n = 0
    for (const b of bodies) n += zstdDecompressSync(b, { maxOutputLength: 512 << 10, chunkSize: cs }).length
    console.log(r, 'chunkSize', cs, bodies.length, n, (performance.now() - t).toFixed(0))
  }
  const t = performance.now()
  await each(bodies, 8, (b) => dz(b, { chunkSize: (128 << 10) + 64 }))
  console.log(r, 'async', (performance.now() - t).toFixed(0))
}
