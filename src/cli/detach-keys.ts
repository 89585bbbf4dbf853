import { ZosError } from '#codec'

/** As with Docker: Ctrl-P, then Ctrl-Q. */
export const DETACH_KEYS = 'ctrl-p,ctrl-q'

export const DETACH_FLAG = {
  kind: 'value',
  about: `keys that leave it running (${DETACH_KEYS}), when typed one after the other`,
} as const

/** "ctrl-p,q" → the bytes that such keys send. */
export function parseKeys(text: string): Buffer {
  const bytes = text.split(',').map((key) => {
    const letter = /^ctrl-([a-z@[\\\]^_])$/.exec(key)?.[1]
    return letter
      ? letter.toUpperCase().charCodeAt(0) & 0x1f
      : /^[\x20-\x7e]$/.test(key)
        ? key.charCodeAt(0)
        : undefined
  })
  if (bytes.includes(undefined)) {
    throw new ZosError(
      `Read --detach-keys "${text}": write keys such as a or ctrl-a (a to z, @, [, \\, ], ^, _), with commas between`,
      {
        code: 'usage',
      },
    )
  }
  return Buffer.from(bytes as number[])
}

/** Watches what is typed for KEYS one after the other. What may be their beginning is held until the next key decides. */
export function keyWatch(keys: Buffer): (typed: Buffer) => { pass: Buffer; left: boolean } {
  let held = 0
  return (typed) => {
    const pass: number[] = []
    for (const byte of typed) {
      if (byte !== keys[held]) {
        pass.push(...keys.subarray(0, held))
        held = 0
      }
      if (byte !== keys[held]) pass.push(byte)
      else if (++held === keys.length) return { pass: Buffer.from(pass), left: true }
    }
    return { pass: Buffer.from(pass), left: false }
  }
}
