import { ZosError } from '#codec'

type Command = { run: () => Promise<(args: string[]) => Promise<number>>; usage: string; about: string }

/** Loaded only when called. */
const commands: Record<string, Command> = {
  keygen: {
    run: () => import('./keys.ts').then((m) => m.keygen),
    usage: 'FILE',
    about: 'make a key: 32 raw bytes, readable by you only',
  },
  inspect: {
    run: () => import('./keys.ts').then((m) => m.inspect),
    usage: 'FILE [--json]',
    about: 'public key, address and subnet of a key',
  },
  run: {
    run: () => import('./run.ts').then((m) => m.runNode),
    usage:
      '--key-file F [--listen URI…] [--peer URI…] [--tun NAME] [--api unix:PATH] [--no-discovery] [--network-name N --network-key-file F] [--ours KEY…] [--legacy KEY…] [--sessions-only]',
    about: 'be a node of the overlay',
  },
  status: { run: () => import('./show.ts').then((m) => m.status), usage: '[--json]', about: 'the running node' },
  peers: { run: () => import('./show.ts').then((m) => m.peers), usage: '[--json]', about: 'its connections' },
  routes: { run: () => import('./show.ts').then((m) => m.routes), usage: '[--json]', about: 'whom it can reach' },
  metrics: {
    run: () => import('./show.ts').then((m) => m.metrics),
    usage: '',
    about: 'its counters in the text format of Prometheus',
  },
  ping: {
    run: () => import('./probe.ts').then((m) => m.ping),
    usage: 'ADDR [-c COUNT]',
    about: 'does an address answer, how fast',
  },
  trace: { run: () => import('./probe.ts').then((m) => m.trace), usage: 'ADDR', about: 'the nodes on the way to it' },
  send: {
    run: () => import('./messages.ts').then((m) => m.send),
    usage: 'ADDR [--topic T] [--reply-to ID] [--timeout S] < FILE',
    about: 'send a message to a node; done when that has it on its disk',
  },
  receive: {
    run: () => import('./messages.ts').then((m) => m.receive),
    usage: '[--topic T] [--timeout S] [--peek] [--json]',
    about: 'print the oldest message, waiting for one',
  },
  capture: {
    run: () => import('./capture.ts').then((m) => m.capture),
    usage: '[--peer URI]',
    about: 'a line for each frame, as anybody on the path sees it',
  },
}

const help = (): string =>
  `usage: zos mycelium COMMAND\n\n${Object.entries(commands)
    .map(([name, c]) => `  ${name} ${c.usage}\n      ${c.about}\n`)
    .join('')}\nWhich node the commands ask: $ZOS_MYCELIUM_API, "unix:PATH" as given to run --api.\n`

/** `zos mycelium …` */
export default async function mycelium(args: string[]): Promise<number> {
  const [name, ...rest] = args
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    process.stdout.write(help())
    return 0
  }
  const command = Object.hasOwn(commands, name) ? commands[name]! : undefined
  if (!command)
    throw new ZosError(`zos mycelium: no command "${name}"; "zos mycelium help" lists them`, { code: 'usage' })
  return (await command.run())(rest)
}
