import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type DebianRecipe, debianImage } from './debian.ts'

/** What the main job runs: Debian with nginx, as any Dockerfile would make it. */
export const DEMO_PAGE = '<!doctype html><title>ZOS</title><h1>Hello from nginx in a microVM of its own</h1>\n'

export const NGINX: DebianRecipe = {
  name: 'nginx',
  packages: ['nginx'],
  hooks: [`echo ${Buffer.from(DEMO_PAGE).toString('base64')} | base64 -d > "$1/var/www/html/index.html"`],
  config: {
    Cmd: ['nginx', '-g', 'daemon off; error_log /dev/stderr; '],
    Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
    StopSignal: 'SIGQUIT',
  },
}

export const demoImage = (cacheDir: string, say: (line: string) => void): Promise<string> =>
  debianImage(cacheDir, NGINX, say)

/** Bytes of the layers as a registry sends them. */
export function compressedLayerBytes(dir: string): number {
  const blob = (digest: string) => join(dir, 'blobs', digest.replace(':', '/'))
  const index = JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8')) as { manifests: { digest: string }[] }
  const manifest = JSON.parse(readFileSync(blob(index.manifests[0]!.digest), 'utf8')) as { layers: { size: number }[] }
  return manifest.layers.reduce((n, l) => n + l.size, 0)
}
