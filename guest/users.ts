/** Who a process runs as, by Docker's rules (moby/sys/user GetExecUser). Pure: tested on the host. */
export type Identity = { uid: number; gid: number; groups: number[]; home: string }

type Row = string[]

const rows = (text: string): Row[] =>
  text
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => line.trim().split(':'))

const digits = (text: string): boolean => text !== '' && [...text].every((c) => c >= '0' && c <= '9')

function idOf(text: string, what: string): number {
  const id = Number(text)
  if (id > 0x7fffffff) throw new Error(`${what} ${text}: ids must be in range 0-2147483647`)
  return id
}

/** USER is `user`, `uid`, `user:group` or ''. An explicit group suppresses the other supplementary ones. */
export function resolveUser(user: string, passwd: string, group: string, groupAdd: readonly string[] = []): Identity {
  const [userPart = '', groupPart = ''] = user.split(':')
  const identity: Identity = { uid: 0, gid: 0, groups: [], home: '/' }
  const wanted = userPart === '' ? '0' : userPart
  // a number always means an id, even where a user has that name
  const row = rows(passwd).find((r) => (digits(wanted) ? r[2] === String(Number(wanted)) : r[0] === wanted))
  if (row) {
    identity.uid = Number(row[2])
    identity.gid = Number(row[3])
    identity.home = row[5] || '/'
  } else if (digits(wanted)) identity.uid = idOf(wanted, 'user')
  else throw new Error(`unable to find user ${userPart}: no matching entries in passwd file`)

  const groups = rows(group)
  if (groupPart !== '') identity.gid = groupId(groupPart, groups)
  else if (row) {
    const member = (r: Row) => (r[3] ?? '').split(',').includes(row[0]!)
    identity.groups = groups.filter(member).map((r) => Number(r[2]))
  }
  // the primary one is in both places: else a program that changes it would leave what keeps that group out of a file
  const extra = groupAdd.map((name) => groupId(name, groups))
  identity.groups = [...new Set([identity.gid, ...identity.groups, ...extra])]
  return identity
}

function groupId(name: string, groups: Row[]): number {
  const row = groups.find((r) => (digits(name) ? r[2] === String(Number(name)) : r[0] === name))
  if (row) return Number(row[2])
  if (digits(name)) return idOf(name, 'group')
  throw new Error(`unable to find group ${name}: no matching entries in group file`)
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** ENV with Docker's additions where they are absent; of several equal names the last counts. */
export function completeEnv(env: readonly string[], home: string, hostname: string, tty: boolean): string[] {
  const all = new Map<string, string>([
    ['PATH', PATH],
    ['HOSTNAME', hostname],
  ])
  if (tty) all.set('TERM', 'xterm')
  for (const pair of env) {
    const at = pair.indexOf('=')
    if (at > 0) all.set(pair.slice(0, at), pair.slice(at + 1))
  }
  if (!all.get('HOME')) all.set('HOME', home)
  return [...all].map(([name, value]) => `${name}=${value}`)
}
