import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { run } from '#sys'
import { ociLayout, type ProcessConfig } from '../../src/cli/demo/oci.ts'

/** Says who it runs as and what it may do, and opens the files it is given by name. */
const PROBE = `
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
  char line[256];
  FILE *status = fopen("/proc/self/status", "r");
  printf("uid=%d euid=%d", getuid(), geteuid());
  while (status && fgets(line, sizeof line, status))
    if (!strncmp(line, "CapEff:", 7)) printf(" caps=%s", strspn(line + 7, "\\t ") + line + 7);
  for (int i = 1; i < argc; i++) {
    FILE *file = fopen(argv[i], "r");
    if (!file || !fgets(line, sizeof line, file)) return 1;
    printf("%s", line);
  }
  return 0;
}
`

/** Compiles the probe with musl; dynamic ones need \`libc\` beside them. */
export function compileProbe(to: string, how: 'static' | 'dynamic'): void {
  mkdirSync(dirname(to), { recursive: true })
  const r = spawnSync('musl-gcc', [...(how === 'static' ? ['-static'] : []), '-Os', '-x', 'c', '-', '-o', to], {
    input: PROBE,
  })
  if (r.status !== 0) throw new Error(`musl-gcc: ${r.stderr}`)
}

/** musl's loader, which is also its C library, at the place programs name. */
export function installMusl(lib: string): void {
  const name = process.arch === 'arm64' ? 'ld-musl-aarch64.so.1' : 'ld-musl-x86_64.so.1'
  mkdirSync(lib, { recursive: true })
  copyFileSync(`/lib/${name}`, join(lib, name))
}

/** The source of an OCI image whose layers are the folders DIRS, lowest first; Python's tar keeps attributes and any name. */
export async function imageOf(
  work: string,
  dirs: readonly string[],
  config: ProcessConfig,
  architecture?: string,
): Promise<string> {
  const out = mkdtempSync(join(work, 'image-'))
  const tars = mkdtempSync(join(work, 'tars-'))
  try {
    const layers: string[] = []
    for (const [n, dir] of dirs.entries()) {
      layers.push(join(tars, `${n}.tar`))
      const owner = ['--numeric-owner', '--owner=0', '--group=0', '--sort=name']
      await run('tar', ['--format=pax', '--xattrs', '--xattrs-include=*', ...owner, '-cf', layers[n]!, '-C', dir, '.'])
    }
    await ociLayout(out, layers, config, architecture)
  } finally {
    rmSync(tars, { recursive: true, force: true })
  }
  return `oci:${out}:1`
}

/** N folders of one file each, every one but the first also hiding its predecessor's; gives them lowest first. */
export function manyLayers(work: string, count: number): string[] {
  return Array.from({ length: count }, (_, n) => {
    const dir = join(work, `layer-${n}`)
    mkdirSync(join(dir, 'layers'), { recursive: true })
    writeFileSync(join(dir, 'layers', `only-${n}`), `${n}\n`)
    writeFileSync(join(dir, 'layers/last'), `${n}\n`)
    if (n > 0) writeFileSync(join(dir, 'layers', `.wh.only-${n - 1}`), '')
    return dir
  })
}
