import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, linkSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
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

/** COUNT small files over 600 folders, each with its number as content. */
export function manyFiles(dir: string, count = 60_000): string {
  for (let n = 0; n < count; n++) {
    const at = join(dir, `d${n % 600}`)
    if (n < 600) mkdirSync(at, { recursive: true })
    writeFileSync(join(at, `f${n}`), `${n}\n`)
  }
  return dir
}

/** Gives FILE the capability net_admin, permitted and effective: struct vfs_cap_data, version 2. Needs root. */
export function grantNetAdmin(file: string): void {
  const rights = '0100000200100000000000000000000000000000'
  const set = `import os; os.setxattr(${JSON.stringify(file)}, 'security.capability', bytes.fromhex('${rights}'))`
  const r = spawnSync('python3', ['-c', set])
  if (r.status !== 0) throw new Error(`setxattr: ${r.stderr}`)
}

/** What images seldom hold: attributes, capabilities, setuid, hard links, devices, holes, names that are no text. Needs root. */
export function oddTree(dir: string): string {
  for (const sub of ['bin', 'dev', 'empty']) mkdirSync(join(dir, sub), { recursive: true })
  compileProbe(join(dir, 'bin/probe'), 'static')
  for (const name of ['as-root', 'with-rights']) copyFileSync(join(dir, 'bin/probe'), join(dir, 'bin', name))
  chmodSync(join(dir, 'bin/as-root'), 0o4755)
  grantNetAdmin(join(dir, 'bin/with-rights'))
  linkSync(join(dir, 'bin/with-rights'), join(dir, 'empty/again'))
  chmodSync(join(dir, 'empty'), 0o3777)
  writeFileSync(join(dir, 'holes'), 'x')
  truncateSync(join(dir, 'holes'), 70 << 20)
  writeFileSync(Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xff, 0xfe, 0x0a, 0x20])]), 'bytes, not letters\n')
  writeFileSync(join(dir, 'n'.repeat(255)), 'long')
  const attributes = `import os
os.setxattr('holes', 'user.long', bytes(range(256)) * 12)
os.setxattr('empty', 'trusted.one', b'\\0\\xff')
os.chown('holes', 300000, 70000)
os.utime('bin/probe', ns=(1, 987654321123456789))
os.utime('bin/as-root', ns=(1, -1500000001))
`
  const r = spawnSync('python3', ['-c', attributes], { cwd: dir })
  if (r.status !== 0) throw new Error(`attributes: ${r.stderr}`)
  const made = [
    ['null', 'c', '1', '3'],
    ['odd', 'b', '4095', '1048575'],
    ['pipe', 'p'],
  ]
  for (const [name, ...what] of made) {
    const { status, stderr } = spawnSync('mknod', [join(dir, 'dev', name!), ...what])
    if (status !== 0) throw new Error(`mknod: ${stderr}`)
  }
  return dir
}
