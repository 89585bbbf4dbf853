import { reasonOf, ZosError } from '#codec'

/** A command gets what follows its name and gives the exit code. Loaded only when called: start-up is thin. */
type Command = { run: () => Promise<{ default: (args: string[]) => Promise<number> }>; about: string }

const commands: Record<string, Command> = {
  start: {
    run: () => import('./start.ts'),
    about: 'publish a real Debian image, run it in its own microVM, show how it went',
  },
  setup: { run: () => import('./setup/command.ts'), about: 'install and build what this machine lacks' },
  doctor: { run: () => import('./doctor.ts'), about: 'what this machine can do, what is missing, how to fix it' },
  publish: { run: () => import('./publish.ts'), about: 'put an image, archive or directory into ZOS FS under a name' },
  run: { run: () => import('./run.ts'), about: 'run an image in a microVM of its own' },
  exec: { run: () => import('./exec.ts'), about: 'run a command in a running workload' },
  logs: { run: () => import('./logs.ts'), about: 'what a workload wrote' },
  cp: { run: () => import('./cp.ts'), about: 'copy files into or out of a workload' },
  stats: { run: () => import('./stats.ts'), about: 'memory, CPU and disk of workloads' },
  stop: {
    run: () => import('./lifecycle.ts').then((m) => ({ default: m.stop })),
    about: 'end a workload: signal, grace, KILL',
  },
  kill: {
    run: () => import('./lifecycle.ts').then((m) => ({ default: m.kill })),
    about: 'send a workload a signal (KILL)',
  },
  pause: {
    run: () => import('./lifecycle.ts').then((m) => ({ default: m.pause })),
    about: 'freeze a workload where it is',
  },
  unpause: {
    run: () => import('./lifecycle.ts').then((m) => ({ default: m.unpause })),
    about: 'let a paused workload go on',
  },
  restart: {
    run: () => import('./lifecycle.ts').then((m) => ({ default: m.restart })),
    about: 'stop a workload and start it again',
  },
  rm: { run: () => import('./lifecycle.ts').then((m) => ({ default: m.remove })), about: 'remove workloads' },
  ps: { run: () => import('./ps.ts'), about: 'workloads and their state' },
  status: { run: () => import('./status.ts'), about: 'the node daemon and what it holds' },
  images: { run: () => import('./images.ts'), about: 'published images' },
  flist: { run: () => import('./flist.ts'), about: 'look into, verify, extract and compare published trees' },
  store: { run: () => import('./store.ts'), about: 'the chunk store: stat, gc, scrub' },
  volume: { run: () => import('./volume.ts'), about: 'named volumes: ls, rm, grow' },
  mycelium: {
    run: () => import('./mycelium/index.ts'),
    about: 'the overlay: keys, node, peers, routes, ping, capture',
  },
  grid: { run: () => import('./grid/index.ts'), about: 'a local grid: up, status, down, export' },
  key: { run: () => import('./grid/key.ts'), about: "members' keys: new, ls" },
  group: { run: () => import('./grid/group.ts'), about: 'groups that agree on deployments: create, ls, show' },
  deploy: { run: () => import('./grid/deploy.ts'), about: 'propose what a spec says to a group (--plan: only show)' },
  proposals: {
    run: () => import('./grid/approve.ts').then((m) => ({ default: m.proposals })),
    about: 'what waits for approvals',
  },
  approve: {
    run: () => import('./grid/approve.ts').then((m) => ({ default: m.approve })),
    about: 'say what a proposal does, and sign it',
  },
  freeze: {
    run: () => import('./grid/steps.ts').then((m) => ({ default: m.freeze })),
    about: 'stop a deployment at once, as one member',
  },
  thaw: {
    run: () => import('./grid/steps.ts').then((m) => ({ default: m.thaw })),
    about: 'propose to let a frozen deployment run again',
  },
  undo: {
    run: () => import('./grid/steps.ts').then((m) => ({ default: m.undo })),
    about: 'propose to go back to the version before',
  },
  cancel: {
    run: () => import('./grid/steps.ts').then((m) => ({ default: m.cancel })),
    about: 'propose to end a deployment; its data stays',
  },
  wipe: {
    run: () => import('./grid/steps.ts').then((m) => ({ default: m.wipe })),
    about: 'propose to delete the data of a deployment',
  },
  migrate: { run: () => import('./grid/migrate.ts'), about: 'propose to move a slot to another node' },
  forward: { run: () => import('./grid/forward.ts'), about: "reach a slot's port from this machine" },
  log: { run: () => import('./grid/log.ts'), about: 'the audit trail of a deployment; --verify FILE' },
  farm: { run: () => import('./grid/inventory.ts'), about: 'farms: ls, show' },
  node: { run: () => import('./grid/node.ts'), about: 'nodes: ls, show; run one' },
  down: { run: () => import('./down.ts'), about: 'end the daemon and everything it started' },
}

function help(): string {
  const rows = Object.entries(commands).map(([name, c]) => `  ${name.padEnd(10)} ${c.about}`)
  return `usage: zos COMMAND [ARGS]\n\n${rows.join('\n')}\n\nState lives in $ZOS_HOME; published content in $ZOS_HUB (dir:PATH).\n`
}

/** Docker's exit codes: 126 and 127 for a program that cannot run, 125 when run could not do its part; else 1. */
function exitCodeOf(command: string, error: unknown): number {
  const code = error instanceof ZosError ? error.details.exitCode : undefined
  if (typeof code === 'number') return code
  return command === 'run' ? 125 : 1
}

async function main(argv: string[]): Promise<number> {
  const [name, ...args] = argv
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    process.stdout.write(help())
    return 0
  }
  const command = Object.hasOwn(commands, name) ? commands[name]! : undefined
  if (!command) {
    process.stderr.write(`zos: no command "${name}"; "zos help" lists them\n`)
    return 1
  }
  try {
    return await (await command.run()).default(args)
  } catch (error) {
    const stack =
      error instanceof Error && !(error instanceof ZosError) && process.env.ZOS_DEBUG ? `\n${error.stack}` : ''
    process.stderr.write(`zos: ${reasonOf(error)}${stack}\n`)
    return exitCodeOf(name, error)
  }
}

process.exitCode = await main(process.argv.slice(2))
