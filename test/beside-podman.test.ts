// docs/docker.md, held against a program that takes Docker's words: the same arguments on the same image to podman and to us.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { podmanFlags, RLIMITS } from '../bench/peer.ts'
import { busyboxTree, dockerArchive, startNode } from './harness.ts'

const skip = !process.env.ZOS_NIGHTLY
  ? 'minutes long: npm run nightly'
  : process.getuid?.() !== 0
    ? 'NOT RUN: podman needs root here'
    : spawnSync('podman', ['--version']).status === 0
      ? false
      : 'NOT RUN: needs podman'

const node = startNode()
const storage = join(node.work, 'podman')
const flags = podmanFlags(storage)
after(() => {
  if (!skip) {
    spawnSync('podman', [...flags, 'rm', '-af', '-t', '0'])
    spawnSync('podman', [...flags, 'rmi', '-af'])
    spawnSync('umount', [join(storage, 'root/overlay')])
  }
  node[Symbol.dispose]()
})

type Said = { code: number | null; out: string }
type Ask = { input?: string; env?: NodeJS.ProcessEnv }

/** The flags that make podman run in a sandbox: none of them is looked at here. */
const sandbox = (args: string[]) =>
  /^(run|create)$/.test(args[0]!) ? [args[0]!, '--network=none', ...RLIMITS, ...args.slice(1)] : args

function podman(args: string[], { input = '', env = {} }: Ask): Said {
  const asked = [...flags, ...sandbox(args)]
  const r = spawnSync('podman', asked, { input, cwd: node.work, timeout: 120_000, env: { ...process.env, ...env } })
  // where Docker says 1, podman's other commands say 125, as run does
  const code = r.status === 125 && !/^(run|create)$/.test(args[0]!) ? 1 : r.status
  return { code, out: String(r.stdout) }
}

function ours(args: string[], ask: Ask): Said {
  const { code, text } = node.zos(args, { ...ask, timeout: 200 })
  return { code, out: text }
}

before(() => {
  if (skip) return
  mkdirSync(storage, { recursive: true })
  const tree = busyboxTree(join(node.work, 'tree'), { 'data/from-image': 'kept\n' })
  const source = dockerArchive(join(node.work, 'box.tar'), tree, {
    Cmd: ['sh', '-c', 'echo default; exit 3'],
    Env: ['PATH=/bin', 'FROM_IMAGE=yes'],
    WorkingDir: '/data',
    Labels: { kind: 'box' },
    StopSignal: 'SIGINT',
    ExposedPorts: { '80/tcp': {} },
    Volumes: { '/more': {} },
  })
  writeFileSync(join(node.work, 'env-file'), '# a comment\nFROM_FILE=1\nTAKEN\n\n')
  node.ok(['publish', source, 'box'], { timeout: 300 })
  for (const args of [
    ['load', '-q', '-i', join(node.work, 'box.tar')],
    ['tag', 'localhost/test:1', 'localhost/box:latest'],
  ])
    assert.equal(podman(args, {}).code, 0, args.join(' '))
})

/** What ids, times and sizes make of a text differs from run to run. */
const plain = (text: string) => text.replace(/\b[0-9a-f]{64}\b/g, 'ID').replace(/\b[0-9a-f]{12}\b/g, 'ID')

/** One line: words as a shell splits them, quotes around those with blanks. */
const words = (line: string) => [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare!)

/** Runs each line on both: exit code and standard output must be the same. */
function same(name: string, lines: (string | [string, Ask])[]): void {
  test(name, { skip, timeout: 1_800_000 }, () => {
    const differ = lines.flatMap((item) => {
      const [line, ask] = typeof item === 'string' ? [item, {}] : item
      const said = [podman(words(line), ask), ours(words(line), ask)]
      const [theirs, mine] = said.map(({ code, out }) => `${code} ${plain(out)}`)
      return theirs === mine ? [] : [{ line, theirs, mine }]
    })
    assert.deepEqual(differ, [])
  })
}

same('exit codes of run', [
  'run --rm box',
  'run --rm box true',
  'run --rm box false',
  "run --rm box sh -c 'exit 42'",
  "run --rm box sh -c 'kill -9 $$'",
  "run --rm box sh -c 'kill -TERM $$; sleep 1; exit 9'",
  'run --rm box no-such-program',
  'run --rm box /etc/passwd',
  'run --rm --no-such-flag box true',
  'run --rm -w /no/../tmp box pwd',
  'run --rm -u nobody-there box true',
])
same('what the program finds', [
  "run --rm -e A=1 -e B= -e FROM_IMAGE=no box sh -c 'echo $A,$B,$FROM_IMAGE'",
  ["run --rm -e TAKEN -e NOT_SET box sh -c 'echo $TAKEN; env | grep -c NOT_SET'", { env: { TAKEN: 'from here' } }],
  ["run --rm --env-file env-file box sh -c 'echo $FROM_FILE,$TAKEN'", { env: { TAKEN: 'from here' } }],
  'run --rm box pwd',
  'run --rm -w /tmp box pwd',
  'run --rm -u web box id',
  'run --rm -u 7:9 box id -G',
  'run --rm -u web --group-add 5 box id',
  'run --rm -u 1234 box id',
  'run --rm --hostname h1 box hostname',
  'run --rm --add-host db:10.0.0.1 box grep -w db /etc/hosts',
  'run --rm --ulimit nofile=100:200 box sh -c "ulimit -n"',
  ['run --rm -i box cat', { input: 'some input' }],
  ['run --rm box cat', { input: 'nobody reads it' }],
  'run --rm --entrypoint echo box a b',
  "run --rm --entrypoint '' box echo c",
  "run --rm --read-only box sh -c 'touch /x 2>/dev/null || echo no'",
  "run --rm --read-only box sh -c 'touch /more/x && echo yes'",
  "run --rm --tmpfs /t:size=1m box sh -c 'df /t | tail -1 | cut -c1-5'",
  'run --rm --mount type=tmpfs,target=/t box sh -c \'mount | grep -c "/t type tmpfs"\'',
  "run --rm box sh -c 'echo $$; ls /proc | grep -c ^1$'",
  'run --rm -v vol:/data box cat from-image',
  "run --rm -v vol:/data box sh -c 'echo new > x'",
  'run --rm -v vol:/data:ro box cat x',
  "run --rm -v vol:/data:ro box sh -c 'echo no > x'",
])
same('a life from create to rm', [
  "create --name made -l team=blue --stop-timeout 5 --restart on-failure:3 box sh -c 'echo in; exit 4'",
  "inspect -f '{{.State.Status}} {{.State.Running}} {{.State.ExitCode}}' made",
  'inspect -f \'{{index .Config.Labels "team"}} {{index .Config.Labels "kind"}}\' made',
  "inspect -f '{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}' made",
  "inspect -f '{{.Config.WorkingDir}} {{.Path}} {{json .Args}}' made",
  "inspect -f '{{.Config.StopTimeout}} {{.RestartCount}} {{.HostConfig.AutoRemove}}' made",
  "ps -a --filter name=made --format '{{.Names}}'",
  'rm made',
  "create --name made box sh -c 'echo in; echo err >&2; exit 4'",
  'start -a made',
  "inspect -f '{{.State.Status}} {{.State.ExitCode}}' made",
  'wait made',
  'logs made',
  'logs --tail 1 made',
  'start -a made',
  'logs made',
  'rename made other',
  'inspect made',
  "inspect -f '{{.State.ExitCode}}' other",
  'rm other',
  'inspect other',
  'logs other',
  'start other',
  'wait other',
])
same('one that runs', [
  'run -d --name up -l a=1 box sh -c \'trap "echo bye; exit 5" INT; echo up; while :; do sleep 1; done\'',
  "ps --format '{{.Names}}'",
  "ps --filter label=a=1 --format '{{.Names}}'",
  "ps --filter label=a=2 --format '{{.Names}}'",
  "ps --filter status=exited --format '{{.Names}}'",
  "exec up sh -c 'exit 3'",
  'exec up no-such-program',
  'exec -w /tmp -e X=1 -u web up sh -c "pwd"',
  ['exec -i up cat', { input: 'in' }],
  'exec none true',
  'pause up',
  "inspect -f '{{.State.Status}} {{.State.Paused}}' up",
  'unpause up',
  'stop -t 10 up',
  "inspect -f '{{.State.ExitCode}}' up",
  'logs up',
  'start up',
  'kill -s KILL up',
  'wait up',
  'rm up',
])
same('what is asked for cannot be', [
  'start none',
  'stop none',
  'kill none',
  'rm none',
  'logs none',
  'inspect none',
  'wait none',
  'cp none:/x .',
])
