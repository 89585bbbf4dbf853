import { plain, reasonOf, ZosError } from '#codec'
import { type Command, commands } from './commands.ts'
import { HelpAsked } from './flags.ts'

function help(): string {
  const rows = Object.entries(commands).map(([name, c]) => `  ${name.padEnd(10)} ${c.about}`)
  return `usage: zos COMMAND [ARGS]\n\n${rows.join('\n')}\n\n"zos COMMAND --help" says more of one. State lives in $ZOS_HOME; published content in $ZOS_HUB (dir:PATH).\n`
}

/** Docker's exit codes: 126 and 127 for a program that cannot run, 125 when run could not do its part; else 1. */
function exitCodeOf(command: string, error: unknown): number {
  const code = error instanceof ZosError ? error.details.exitCode : undefined
  if (typeof code === 'number') return code
  return command === 'run' ? 125 : 1
}

const helpOf = (name: string, { usage, about }: Command, flags: string): string =>
  `usage: ${`zos ${name} ${usage}`.trimEnd()}\n\n${about}\n${flags && `\n${flags}`}`

/** What stands behind an error that says only what was wrong. */
async function hint(error: unknown): Promise<string> {
  if (!(error instanceof ZosError) || error.code !== 'unknown-flag') return ''
  const { command, flag, known } = error.details as { command: string; flag: string; known: string[] }
  return (await import('./elsewhere.ts')).insteadOfFlag(command, flag, known)
}

async function main(argv: string[]): Promise<number> {
  const [first, ...more] = argv
  // "zos help run" is "zos run --help"
  const [name, ...args] =
    first === 'help' && more.length > 0
      ? [more[0]!, '--help']
      : first === '--version' || first === '-v'
        ? ['version', ...more]
        : [first, ...more]
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    process.stdout.write(help())
    return 0
  }
  const command = Object.hasOwn(commands, name) ? commands[name]! : undefined
  if (!command) {
    const { insteadOfCommand } = await import('./elsewhere.ts')
    process.stderr.write(`zos: no command "${plain(name)}"${insteadOfCommand(name, Object.keys(commands))}\n`)
    return 1
  }
  try {
    if (command.verbs && args[0] === '--help') throw new HelpAsked({})
    return await (await command.run()).default(args)
  } catch (error) {
    if (error instanceof HelpAsked) {
      process.stdout.write(helpOf(name, command, error.rows))
      return 0
    }
    const stack =
      error instanceof Error && !(error instanceof ZosError) && process.env.ZOS_DEBUG ? `\n${error.stack}` : ''
    // it may quote what an image or a workload made up; lines of its own it may have
    const reason = reasonOf(error).split('\n').map(plain).join('\n')
    const more = await hint(error)
    process.stderr.write(`${reason.startsWith('zos ') ? '' : 'zos: '}${reason}${more}${stack}\n`)
    return exitCodeOf(name, error)
  }
}

for (const out of [process.stdout, process.stderr])
  out.on('error', (error: NodeJS.ErrnoException) => {
    // whoever read it has ended: 128 + SIGPIPE, as any program in a pipe
    if (error.code === 'EPIPE') process.exit(141)
    if (out === process.stdout) process.stderr.write(`zos: Write standard output: ${reasonOf(error)}\n`)
    process.exit(1)
  })
process.exitCode = await main(process.argv.slice(2))
