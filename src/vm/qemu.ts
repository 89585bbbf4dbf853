import { ZosError } from '#codec'
import { run } from '#sys'

export type Qemu = {
  path: string
  /** First line of `--version`, packaging included: part of a template's key. */
  text: string
  version: readonly [major: number, minor: number]
}

/** The installed QEMU. Throws `program-missing`, or `old-qemu` below 7.2, whose templates nobody has measured. */
export async function findQemu(path = 'qemu-system-x86_64'): Promise<Qemu> {
  const text = (await run(path, ['--version'])).stdout.toString().split('\n')[0]!
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(text)?.map(Number) ?? []
  if (major === undefined || minor === undefined || major < 7 || (major === 7 && minor < 2)) {
    throw new ZosError(`Use QEMU: "${text}" is older than 7.2; install qemu-system-x86 of Debian 12 or later`, {
      code: 'old-qemu',
    })
  }
  return { path, text, version: [major, minor] }
}
