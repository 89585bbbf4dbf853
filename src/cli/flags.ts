import { ZosError } from '#codec'

/** A flag takes a value ('value'), several ('list') or none ('switch'). SHORT: its letter; ABOUT: its line of help. */
export type Flag = { kind: 'switch' | 'value' | 'list'; short?: string; about: string }
export type Flags = Record<string, Flag>

export const JSON_FLAG = { kind: 'switch', about: 'print JSON' } as const satisfies Flag

export type Parsed<F extends Flags> = {
  flags: {
    [K in keyof F]: F[K]['kind'] extends 'switch'
      ? boolean
      : F[K]['kind'] extends 'list'
        ? string[]
        : string | undefined
  }
  rest: string[]
}

const usage = (message: string): ZosError => new ZosError(message, { code: 'usage' })

/** `main.ts` says more behind it. */
const unknown = (command: string, flag: string, flags: Flags): ZosError =>
  new ZosError(`zos ${command}: unknown flag "${flag}"`, {
    code: 'unknown-flag',
    details: { command, flag: flag.replace(/^--?/, ''), known: Object.keys(flags) },
  })

/** `--help` was asked for: carries what a command's flags mean up to `main.ts`, which knows the rest. */
export class HelpAsked extends Error {
  readonly rows: string
  constructor(flags: Flags) {
    super('help was asked for')
    const rows = Object.entries(flags).map(([name, { kind, short, about }]) => ({
      said: `${short ? `-${short}, ` : '    '}--${name}${kind === 'switch' ? '' : ' VALUE'}`,
      about: `${about}${kind === 'list' ? ' (may be given often)' : ''}`,
    }))
    const width = Math.max(26, ...rows.map((row) => row.said.length))
    this.rows = rows.map((row) => `  ${row.said.padEnd(width)} ${row.about}\n`).join('')
  }
}

/**
 * Docker's grammar: `--flag value`, `--flag=value`, `-f value`, `-fvalue`, bundled switches (`-it`), `--` ends flags.
 * With `stop`, the first word that is no flag ends them too (what follows belongs to the program that is run).
 */
export function parseFlags<const F extends Flags>(
  command: string,
  args: readonly string[],
  flags: F,
  options: { stop?: boolean } = {},
): Parsed<F> {
  const found: Record<string, boolean | string | string[] | undefined> = {}
  for (const [name, flag] of Object.entries(flags))
    found[name] = flag.kind === 'switch' ? false : flag.kind === 'list' ? [] : undefined
  const shorts = new Map(Object.entries(flags).flatMap(([name, f]) => (f.short ? [[f.short, name] as const] : [])))
  const rest: string[] = []
  const set = (name: string, value: string) => {
    if (flags[name]!.kind === 'list') (found[name] as string[]).push(value)
    else found[name] = value
  }
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!
    const next = (): string => {
      const value = args[++i]
      if (value === undefined) throw usage(`zos ${command}: "${arg}" needs a value`)
      return value
    }
    // -h is the host name of `run`, as with Docker
    if (arg === '--help' || (arg === '-h' && !shorts.has('h'))) throw new HelpAsked(flags)
    if (arg === '--') {
      rest.push(...args.slice(i + 1))
      break
    }
    if (arg.startsWith('--')) {
      const at = arg.indexOf('=')
      const name = at < 0 ? arg.slice(2) : arg.slice(2, at)
      const flag = Object.hasOwn(flags, name) ? flags[name] : undefined
      if (!flag) throw unknown(command, `--${name}`, flags)
      if (flag.kind !== 'switch') set(name, at < 0 ? next() : arg.slice(at + 1))
      else if (at < 0 || arg.slice(at + 1) === 'true') found[name] = true
      else if (arg.slice(at + 1) !== 'false') throw usage(`zos ${command}: "--${name}" takes no value`)
    } else if (arg.startsWith('-') && arg.length > 1) {
      for (let c = 1; c < arg.length; c++) {
        const name = shorts.get(arg[c]!)
        if (!name) throw unknown(command, `-${arg[c]}`, flags)
        if (flags[name]!.kind === 'switch') found[name] = true
        else {
          const glued = arg.slice(c + 1).replace(/^=/, '')
          set(name, glued === '' ? next() : glued)
          break
        }
      }
    } else if (options.stop) {
      rest.push(...args.slice(i))
      break
    } else rest.push(arg)
  }
  return { flags: found as Parsed<F>['flags'], rest }
}

/** The flags of a command that takes no other words. */
export function onlyFlags<const F extends Flags>(
  command: string,
  args: readonly string[],
  flags: F,
): Parsed<F>['flags'] {
  const { flags: found, rest } = parseFlags(command, args, flags)
  if (rest.length > 0)
    throw usage(`zos ${command}: "${rest[0]}" is not understood; "zos ${command} --help" says what is`)
  return found
}

/** "64m" → bytes, as Docker writes sizes: b, k, m, g, t in powers of 1024. */
export function parseBytes(text: string, what: string): number {
  const found = /^(\d+(?:\.\d+)?)([bkmgt]?)(?:i?b)?$/i.exec(text.trim())
  const bytes = found
    ? Math.floor(Number(found[1]) * 1024 ** 'bkmgt'.indexOf((found[2] || 'b').toLowerCase()))
    : Number.NaN
  if (!Number.isSafeInteger(bytes) || bytes <= 0)
    throw usage(`Read ${what} "${text}": not a size; write it as 64m, 1g or 1073741824`)
  return bytes
}
