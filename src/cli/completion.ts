import { ZosError } from '#codec'
import { commands } from './commands.ts'
import { parseFlags } from './flags.ts'

/** The words that may follow a command's name, as its usage has them: of "ls | rm NAME…" ls and rm. */
const verbsOf = (usage: string): string[] =>
  usage.split('|').flatMap((way) => /^[a-z]+(?= |$)/.exec(way.trim())?.[0] ?? [])

const rows = Object.entries(commands).map(([name, { usage, about, verbs }]) => ({
  name,
  about,
  verbs: verbsOf(usage),
  /** Each verb has flags of its own: then it is the verb that is asked for them. */
  own: verbs === true,
}))
const withVerbs = rows.filter((row) => row.verbs.length > 0)
const owners = rows.filter((row) => row.own).map((row) => row.name)

/** Flags are those that `--help` lists. It is asked of a command (and its verb) alone: behind an image it would be a program's. */
const bash = (): string => `_zos() {
  local word=\${COMP_WORDS[COMP_CWORD]} verbs='' help
  COMPREPLY=()
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W '${rows.map((row) => row.name).join(' ')}' -- "$word"))
    return
  fi
  case \${COMP_WORDS[1]} in
${withVerbs.map((row) => `    ${row.name}) verbs='${row.verbs.join(' ')}' ;;`).join('\n')}
  esac
  case $word in
    -*)
      help=("\${COMP_WORDS[1]}")
      case \${COMP_WORDS[1]} in ${owners.join(' | ')}) help=("\${COMP_WORDS[@]:1:2}") ;; esac
      COMPREPLY=($(compgen -W "$("\${COMP_WORDS[0]}" "\${help[@]}" --help 2>/dev/null | sed -nE 's/^ +(-., )?(--[a-z-]+).*/\\2/p')" -- "$word")) ;;
    *) [ "$COMP_CWORD" != 2 ] || COMPREPLY=($(compgen -W "$verbs" -- "$word")) ;;
  esac
}
complete -o bashdefault -o default -F _zos zos ./zos
`

const quoted = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`
const fish = (): string => {
  const lines = rows.map(
    ({ name, about }) => `complete -c zos -n __fish_use_subcommand -f -a ${name} -d ${quoted(about)}`,
  )
  const second = 'test (count (commandline -opc)) -eq 2; and __fish_seen_subcommand_from'
  lines.push(...withVerbs.map(({ name, verbs }) => `complete -c zos -n '${second} ${name}' -f -a '${verbs.join(' ')}'`))
  return `function __zos_flags
  set -l words (commandline -opc)
  set -l last 2
  contains -- $words[2] ${owners.join(' ')}; and set last 3
  $words[1..$last] --help 2>/dev/null | string replace -rf -- '^ +(-., )?(--[a-z-]+).*' '$2'
end
${lines.join('\n')}
complete -c zos -n "string match -q -- '-*' (commandline -ct); and not __fish_use_subcommand" -f -a '(__zos_flags)'
`
}

const SHELLS: Record<string, () => string> = {
  bash,
  zsh: () => `autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n${bash()}`,
  fish,
}

/** What a shell is to read to complete the words of `zos`: `source <(zos completion bash)`. */
export default async function completion(args: string[]): Promise<number> {
  const { rest } = parseFlags('completion', args, {})
  const [shell = ''] = rest
  const script = Object.hasOwn(SHELLS, shell) && rest.length === 1 ? SHELLS[shell] : undefined
  if (!script)
    throw new ZosError('zos completion: name a shell, bash, zsh or fish; as in: source <(zos completion bash)', {
      code: 'usage',
    })
  process.stdout.write(script())
  return 0
}
