// Archives and OCI layouts made by hand, for tests: tar-stream's writer cannot make what a hostile or old one can.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { sha256Hex } from '#codec'

export type TarEntry = {
  /** latin1: a character a byte. */
  name: string
  /** The type flag; default a regular file, or a directory when the name ends in `/`. */
  type?: string
  data?: Buffer
  mode?: number
  uid?: number
  gid?: number
  mtime?: number
  link?: string
  device?: [major: number, minor: number]
  /** latin1 values. */
  pax?: Record<string, string>
  /** Announces another size than the data has. */
  size?: number
}

const octal = (value: number, width: number) => `${value.toString(8).padStart(width - 1, '0')}\0`

function header(e: TarEntry, type: string, size: number): Buffer {
  const h = Buffer.alloc(512)
  h.write(e.name.slice(0, 100), 0, 'latin1')
  h.write(octal(e.mode ?? (type === '5' ? 0o755 : 0o644), 8), 100)
  h.write(octal(e.uid ?? 0, 8), 108)
  h.write(octal(e.gid ?? 0, 8), 116)
  if (size < 2 ** 33) h.write(octal(size, 12), 124)
  else {
    h[124] = 0x80 // base 256
    h.writeBigUInt64BE(BigInt(size), 128)
  }
  h.write(octal(e.mtime ?? 1_600_000_000, 12), 136)
  h.write('        ', 148)
  h.write(type, 156)
  h.write((e.link ?? '').slice(0, 100), 157, 'latin1')
  h.write('ustar\x0000', 257, 'latin1')
  if (e.device) h.write(octal(e.device[0], 8) + octal(e.device[1], 8), 329)
  h.write(
    octal(
      h.reduce((a, b) => a + b, 0),
      7,
    ),
    148,
  )
  return h
}

const padded = (data: Buffer) => Buffer.concat([data, Buffer.alloc(-data.length & 511)])

function paxBlock(records: Record<string, string>): Buffer {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`
    let length = rest.length + 1
    while (String(length).length + rest.length !== length) length++
    return `${length}${rest}`
  })
  const data = Buffer.from(lines.join(''), 'latin1')
  return Buffer.concat([header({ name: 'PaxHeaders/x' }, 'x', data.length), padded(data)])
}

/** An archive of ENTRIES; long names get PAX headers. */
export function tar(entries: TarEntry[], options: { end?: boolean } = {}): Buffer {
  const parts = entries.flatMap((e) => {
    const type = e.type ?? (e.name.endsWith('/') ? '5' : '0')
    const data = e.data ?? Buffer.alloc(0)
    const pax = { ...e.pax }
    if (e.name.length > 100) pax.path = e.name
    if ((e.link ?? '').length > 100) pax.linkpath = e.link!
    return [...(Object.keys(pax).length ? [paxBlock(pax)] : []), header(e, type, e.size ?? data.length), padded(data)]
  })
  return Buffer.concat([...parts, ...(options.end === false ? [] : [Buffer.alloc(1024)])])
}

export type ImageOptions = {
  config?: object
  architecture?: string
  /** How layers are compressed: default gzip. */
  compress?: (bytes: Buffer) => Buffer
  mediaType?: string
  /** Spoils a blob after its digest was taken. */
  spoil?: (blob: Buffer, layer: number) => Buffer
  diffIds?: (ids: string[]) => string[]
}

/** Writes an OCI layout of LAYERS (uncompressed archives) to DIR. */
export function ociLayout(dir: string, layers: Buffer[], options: ImageOptions = {}): void {
  mkdirSync(join(dir, 'blobs/sha256'), { recursive: true })
  const blob = (bytes: Buffer, stored = bytes) => {
    const hex = sha256Hex(bytes)
    writeFileSync(join(dir, 'blobs/sha256', hex), stored)
    return { digest: `sha256:${hex}`, size: bytes.length }
  }
  const document = (value: object) => blob(Buffer.from(JSON.stringify(value)))
  const compress = options.compress ?? ((bytes: Buffer) => gzipSync(bytes))
  const descriptors = layers.map((layer, n) => {
    const bytes = compress(layer)
    return {
      mediaType: options.mediaType ?? 'application/vnd.oci.image.layer.v1.tar+gzip',
      ...blob(bytes, options.spoil?.(bytes, n)),
    }
  })
  const ids = layers.map((layer) => `sha256:${sha256Hex(layer)}`)
  const config = document({
    architecture: options.architecture ?? 'amd64',
    os: 'linux',
    config: options.config ?? {},
    rootfs: { type: 'layers', diff_ids: options.diffIds?.(ids) ?? ids },
  })
  const manifest = document({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: descriptors,
  })
  writeFileSync(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  writeFileSync(
    join(dir, 'index.json'),
    JSON.stringify({
      schemaVersion: 2,
      manifests: [
        {
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          ...manifest,
          annotations: { 'org.opencontainers.image.ref.name': 'x' },
        },
      ],
    }),
  )
}
