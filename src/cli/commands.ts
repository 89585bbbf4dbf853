/** A command gets what follows its name and gives the exit code. Loaded only when called: start-up is thin. */
export type Command = {
  run: () => Promise<{ default: (args: string[]) => Promise<number> }>
  usage: string
  about: string
  /** Its first word says what is done, each with flags of its own. */
  verbs?: true
}

export const commands: Record<string, Command> = {
  start: {
    run: () => import('./lifecycle.ts').then((m) => ({ default: m.start })),
    usage: '[FLAGS] | [-a] [-i] WORKLOAD…',
    about: 'a real Debian image, agreed on by a group, on a local grid; or: start stopped workloads again',
  },
  setup: {
    run: () => import('./setup/command.ts'),
    usage: '[--yes]',
    about: 'install and build what this machine lacks',
  },
  doctor: {
    run: () => import('./doctor.ts'),
    usage: '[--json]',
    about: 'what this machine can do, what is missing, how to fix it',
  },
  publish: {
    run: () => import('./publish.ts'),
    usage: '[FLAGS] SOURCE NAME',
    about: 'put an image, archive or directory into ZOS FS under a name',
  },
  run: {
    run: () => import('./run.ts'),
    usage: '[FLAGS] IMAGE [COMMAND…]',
    about: 'run an image in a microVM of its own',
  },
  create: {
    run: () => import('./run.ts').then((m) => ({ default: m.create })),
    usage: '[FLAGS] IMAGE [COMMAND…]',
    about: 'as run, but only made: "start" starts it',
  },
  attach: {
    run: () => import('./reattach.ts'),
    usage: '[FLAGS] WORKLOAD',
    about: 'stay with a running workload: its output, its exit code',
  },
  exec: {
    run: () => import('./exec.ts'),
    usage: '[FLAGS] WORKLOAD COMMAND…',
    about: 'run a command in a running workload',
  },
  logs: { run: () => import('./logs.ts'), usage: '[FLAGS] WORKLOAD', about: 'what a workload wrote' },
  cp: {
    run: () => import('./cp/index.ts'),
    usage: '[FLAGS] WORKLOAD:PATH PATH|- | PATH|- WORKLOAD:PATH',
    about: 'copy files into or out of a workload',
  },
  stats: { run: () => import('./stats.ts'), usage: '[FLAGS] [WORKLOAD…]', about: 'memory, CPU and disk of workloads' },
  stop: {
    run: () => import('./lifecycle.ts').then((m) => ({ default: m.stop })),
    usage: '[FLAGS] WORKLOAD…',
    about: 'end a workload: signal, grace, KILL',
  },
  kill: {
    run: () => import('./lifecycle.ts').then((m) => ({ default: m.kill })),
    usage: '[FLAGS] WORKLOAD…',
    about: 'send a workload a signal (KILL)',
  },
  pause: {
    run: () => import('./lifecycle.ts').then((m) => ({ default: m.pause })),
    usage: 'WORKLOAD…',
    about: 'freeze a workload where it is',
  },
  unpause: {
    run: () => import('./lifecycle.ts').then((m) => ({ default: m.unpause })),
    usage: 'WORKLOAD…',
    about: 'let a paused workload go on',
  },
  restart: {
    run: () => import('./lifecycle.ts').then((m) => ({ default: m.restart })),
    usage: '[FLAGS] WORKLOAD…',
    about: 'stop a workload and start it again',
  },
  rm: {
    run: () => import('./lifecycle.ts').then((m) => ({ default: m.remove })),
    usage: '[FLAGS] WORKLOAD…',
    about: 'remove workloads',
  },
  wait: { run: () => import('./wait.ts'), usage: 'WORKLOAD…', about: 'until workloads end; print their exit codes' },
  rename: { run: () => import('./rename.ts'), usage: 'WORKLOAD NEWNAME', about: 'give a workload another name' },
  inspect: {
    run: () => import('./inspect.ts'),
    usage: '[FLAGS] WORKLOAD|IMAGE|VOLUME…',
    about: 'all there is to know of it, as JSON',
  },
  port: {
    run: () => import('./port.ts'),
    usage: 'WORKLOAD [PORT]',
    about: 'where on this host its ports are',
  },
  top: { run: () => import('./top.ts'), usage: '[--json] WORKLOAD', about: 'the processes of a workload' },
  ps: { run: () => import('./ps.ts'), usage: '[FLAGS]', about: 'workloads and their state' },
  status: {
    run: () => import('./status.ts'),
    usage: '[--json] | DEPLOYMENT [FLAGS]',
    about: 'the node daemon and what it holds',
  },
  images: { run: () => import('./images.ts'), usage: '[FLAGS] [NAME]', about: 'published images' },
  rmi: {
    run: () => import('./rmi.ts'),
    usage: 'IMAGE…',
    about: 'forget published images by name; "store gc" frees their room',
  },
  flist: {
    run: () => import('./flist.ts'),
    usage: 'ls|inspect|verify NAME | extract NAME DIR | diff NAME NAME',
    about: 'look into, verify, extract and compare published trees',
  },
  store: {
    run: () => import('./store.ts'),
    usage: 'stat | gc [FLAGS] | scrub | recompress',
    about: 'the chunk store: stat, gc, scrub',
  },
  volume: {
    verbs: true,
    run: () => import('./volume.ts'),
    usage: 'ls | create [--size SIZE] [NAME] | inspect NAME… | rm NAME… | grow NAME SIZE | prune [-a]',
    about: 'volumes: ls, create, inspect, rm, grow, prune',
  },
  mycelium: {
    run: () => import('./mycelium/index.ts'),
    usage: 'COMMAND',
    about: 'the overlay: keys, node, peers, routes, ping, capture',
  },
  join: {
    run: () => import('./join/index.ts'),
    usage: '--grid FILE --as KEY [--tun NAME]',
    about: 'this machine on a grid: what your groups run answers by name',
  },
  grid: {
    verbs: true,
    run: () => import('./grid/index.ts'),
    usage: 'up [--nodes N] [--address IP] | status [--json] | down | export | contract --rpc URL[,URL…]',
    about: 'a local grid: up, status, down, export; contract: begin one on another chain',
  },
  key: {
    run: () => import('./grid/key.ts'),
    usage: 'new NAME | ls | hub FILE',
    about: "members' keys: new, ls; hub FILE: the name of a hub key, made if need be",
  },
  group: {
    verbs: true,
    run: () => import('./grid/group.ts'),
    usage: 'create NAME --member KEY… --threshold N | change NAME --as KEY [FLAGS] | ls | show NAME',
    about: 'groups that agree on deployments: create, change, ls, show',
  },
  deploy: {
    run: () => import('./grid/deploy.ts'),
    usage: 'FILE --group GROUP --as KEY [--plan]',
    about: 'propose what a spec says to a group (--plan: only show); specs: docs/formats/spec.md',
  },
  proposals: {
    run: () => import('./grid/approve.ts').then((m) => ({ default: m.proposals })),
    usage: '[FLAGS]',
    about: 'what waits for approvals',
  },
  approve: {
    run: () => import('./grid/approve.ts').then((m) => ({ default: m.approve })),
    usage: 'PROPOSAL --as KEY',
    about: 'say what a proposal does, and sign it',
  },
  freeze: {
    run: () => import('./grid/steps.ts').then((m) => ({ default: m.freeze })),
    usage: 'DEPLOYMENT --group GROUP --as KEY [--hold]',
    about: 'stop a deployment at once, as one member; --hold: propose to keep it so',
  },
  thaw: {
    run: () => import('./grid/steps.ts').then((m) => ({ default: m.thaw })),
    usage: 'DEPLOYMENT --group GROUP --as KEY',
    about: 'propose to let a frozen deployment run again',
  },
  undo: {
    run: () => import('./grid/steps.ts').then((m) => ({ default: m.undo })),
    usage: 'DEPLOYMENT --group GROUP --as KEY',
    about: 'propose to go back to the version before',
  },
  cancel: {
    run: () => import('./grid/steps.ts').then((m) => ({ default: m.cancel })),
    usage: 'DEPLOYMENT --group GROUP --as KEY',
    about: 'propose to end a deployment; its data stays',
  },
  wipe: {
    run: () => import('./grid/steps.ts').then((m) => ({ default: m.wipe })),
    usage: 'DEPLOYMENT --group GROUP --as KEY',
    about: 'propose to delete the data of a deployment',
  },
  migrate: {
    run: () => import('./grid/migrate.ts'),
    usage: 'DEPLOYMENT/SLOT --to NODE --group GROUP --as KEY',
    about: 'propose to move a slot to another node',
  },
  reseal: {
    run: () => import('./grid/reseal.ts'),
    usage: 'DEPLOYMENT --group GROUP --as KEY',
    about: "propose to seal a deployment's specs to those who may read now",
  },
  grant: {
    run: () => import('./grid/grant.ts'),
    usage: 'DEPLOYMENT --to HUBKEY --as KEY [--days N]',
    about: "let somebody's hub key read a deployment's images",
  },
  forward: {
    run: () => import('./grid/forward.ts'),
    usage: 'DEPLOYMENT/SLOT [ADDRESS:]PORT:GUESTPORT',
    about: "reach a slot's port from this machine",
  },
  log: {
    run: () => import('./grid/log.ts'),
    usage: 'DEPLOYMENT [FLAGS] | --verify FILE',
    about: 'the audit trail of a deployment; --verify FILE',
  },
  farm: {
    run: () => import('./grid/inventory.ts'),
    usage: 'ls | show FARM | create NAME --as KEY',
    about: 'farms: ls, show, create',
  },
  node: {
    verbs: true,
    run: () => import('./grid/node.ts'),
    usage:
      'ls | show NODE | register NAME [FLAGS] | run --home DIR --rpc URL[,URL…] --hub URL[,URL…] | state NODE up|drain|down | reclaim NODE',
    about: 'nodes: ls, show; register one, run it, take its slots back',
  },
  completion: {
    run: () => import('./completion.ts'),
    usage: 'bash|zsh|fish',
    about: 'what a shell reads to complete words of zos: source <(zos completion bash)',
  },
  version: { run: () => import('./version.ts'), usage: '[FLAGS]', about: 'what runs here' },
  down: { run: () => import('./down.ts'), usage: '', about: 'end the daemon and everything it started' },
}
