/** Words of Docker that are not there, and what does their work here. Loaded only to answer a mistake. */
const COMMANDS: Record<string, string> = {
  pull: '"zos publish docker://IMAGE NAME" brings an image here; "zos run IMAGE" does so by itself',
  build: 'an image built elsewhere comes here with "zos publish docker-archive:FILE NAME", a folder with dir:FOLDER',
  load: 'write zos publish docker-archive:FILE NAME',
  import: 'write zos publish docker-archive:FILE NAME, or dir:FOLDER NAME for what is unpacked',
  login: '"skopeo login" keeps what "zos publish" goes by',
  tag: 'publish it again under the other name: what is there is not stored twice',
  push: 'nothing goes back to a registry; "zos publish --into DEPLOYMENT" brings an image to a grid',
  save: '"zos flist extract NAME FOLDER" gives its files',
  export: '"zos cp WORKLOAD:PATH -" gives what is there as a tar archive',
  commit: '"zos cp" takes what it wrote out; publish that as dir:FOLDER',
  image: 'write zos images, zos rmi or zos inspect',
  container: 'write the word behind it alone: zos ps, zos rm, …',
  network: 'a workload of one machine has none but -p; on a grid each deployment has its own',
  compose: 'write a spec for "zos deploy": docs/formats/spec.md',
  system: 'write zos status, zos store stat or zos store gc',
  info: 'write zos status or zos doctor',
  events: '"zos wait" waits for an end, "zos ps --json" says what is so now',
  update: 'what a workload may use is said once: "zos run" it anew',
  diff: '"zos flist diff NAME NAME" compares two published trees',
  history: '"zos flist inspect NAME" lists the layers it came from',
}

const MACHINE = 'a workload is a machine of its own, and root in it may do there what root of a machine may'
const FLAGS: Record<string, string> = {
  ...Object.fromEntries(['privileged', 'cap-add', 'security-opt', 'sysctl', 'shm-size'].map((f) => [f, MACHINE])),
  'cap-drop': '--read-only takes all but the usual capabilities away',
  ...Object.fromEntries(['device', 'gpus'].map((f) => [f, 'devices of this host cannot be given to a microVM'])),
  ...Object.fromEntries(
    ['pid', 'ipc', 'uts', 'userns', 'cgroupns'].map((f) => [f, 'nothing is shared with this host']),
  ),
  ...Object.fromEntries(
    ['link', 'ip', 'dns', 'net'].map((f) => [f, 'there is no network but -p; on a grid there is one']),
  ),
  'volumes-from': 'name the same volume with -v',
  pull: '"zos publish" fetches an image anew',
  platform: 'images of this machine’s architecture run, others do not',
  expose: 'any port can be published: -p 8080:80',
  cidfile: '"zos run -d" prints the id',
  'log-driver': 'output is kept for "zos logs"',
}

/** Letters to add, take away or change until A is B. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, n) => n)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    row = next
  }
  return row.at(-1)!
}

function near(word: string, known: readonly string[]): string | undefined {
  const [best] = known.map((k) => ({ k, far: distance(word, k) })).sort((a, b) => a.far - b.far)
  return best && best.far <= Math.max(1, Math.floor(word.length / 4)) ? best.k : undefined
}

const own = (table: Record<string, string>, word: string) => (Object.hasOwn(table, word) ? table[word] : undefined)

/** What to say behind `no command "WORD"`. */
export function insteadOfCommand(word: string, known: readonly string[]): string {
  const instead = own(COMMANDS, word)
  if (instead) return `: ${instead}`
  const meant = near(word, known)
  return meant ? `; is "${meant}" meant?` : '; "zos help" lists them'
}

/** What to say behind `unknown flag "--FLAG"` of COMMAND. */
export function insteadOfFlag(command: string, flag: string, known: readonly string[]): string {
  const instead = command === 'run' || command === 'create' ? own(FLAGS, flag) : undefined
  if (instead) return `: ${instead}`
  const meant = flag.length > 1 ? near(flag, known) : undefined
  return meant ? `; is "--${meant}" meant?` : `; "zos ${command} --help" lists them`
}
