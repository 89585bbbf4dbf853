import { reasonOf, ZosError } from '#codec'
import {
  type ApprovalLog,
  decodeLog,
  deploymentId,
  exportLog,
  type FarmersWord,
  listKeys,
  type PublicKey,
  readFarmersWords,
  slotKeyOf,
  verifyLog,
} from '#contract'
import { JSON_FLAG, parseFlags } from '../flags.ts'
import { groupOfDeployment, nodesOf, openContext } from './context.ts'
import { memberName } from './group.ts'
import { keysDir } from './local.ts'
import { readText } from './read_text.ts'

/** Some hundred thousand steps. */
const LOG_BYTES = 256 * 2 ** 20

function verify(file: string, json: boolean): number {
  let text: string
  try {
    text = readText(file, LOG_BYTES)
  } catch (cause) {
    throw new ZosError(`Verify "${file}": ${reasonOf(cause)}`, { code: 'no-file', cause })
  }
  const { group, state, log } = verifyLog(text)
  const facts = {
    deployment: state.name,
    group: group.group,
    chainId: log.chainId,
    contract: log.contract,
    steps: state.sequence,
    version: state.version,
    status: state.status,
    head: state.head,
  }
  process.stdout.write(
    json
      ? `${JSON.stringify(facts)}\n`
      : `"${state.name}" of group ${group.group}: ${state.sequence} steps, version ${state.version}, ${state.status}; every signature and link is good\nhead ${state.head}\n`,
  )
  return 0
}

/** One line for each step and each freeze: who signed is named as `zos group show` does, by the set of that time. */
export function logText({ chainId, contract, sets, approvals }: ApprovalLog, keys: readonly PublicKey[]): string {
  const domain = { chainId, contract }
  const nameOf = (epoch: number, place: number): string => {
    const member = sets.find(({ set }) => set.epoch === epoch)?.set.members[place]
    return member ? memberName(keys, domain, member) : `member ${place}`
  }
  const lines = approvals.flatMap(({ transition: t, signatures, freezes }) => [
    `${t.sequence}  ${t.kind}  version ${t.version}, epoch ${t.epoch}, signed by ${signatures.map((s) => nameOf(t.epoch, s.member)).join(', ')}\n`,
    ...freezes.map(
      ({ freeze, signature }) =>
        `   frozen by ${nameOf(freeze.epoch, signature.member)} until ${new Date(freeze.until * 1000).toISOString()}\n`,
    ),
  ])
  return lines.join('')
}

/** What farmers did to the slots, each with its time: the chain's word, so it is not in the file that can be verified. */
function farmersText(words: readonly FarmersWord[], nameOf: (node: number) => string): string {
  const date = (seconds: number) => new Date(seconds * 1000).toISOString()
  const lines = words.map((w) => {
    const slot = `slot ${slotKeyOf(w.key) % 128}${slotKeyOf(w.key) >= 128 ? ' (standby)' : ''} on ${nameOf(w.node)}`
    return `   ${date(w.at)}  ${'back' in w ? `farmer took back ${slot}` : `farmer gave notice of ${slot}, until ${date(w.until)}`}\n`
  })
  return lines.length === 0 ? '' : `as the chain says, unsigned by members:\n${lines.join('')}`
}

/** `zos log D --group G`: the audit trail; `--verify FILE` needs nothing but the file. */
export default async function log(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('log', args, {
    group: { kind: 'value', about: 'by name or id' },
    verify: { kind: 'value', about: 'check such a file, needing nothing else' },
    json: JSON_FLAG,
  })
  if (flags.verify !== undefined) return verify(flags.verify, flags.json)
  const [name, ...more] = rest
  if (!name || more.length > 0)
    throw new ZosError('zos log: write zos log DEPLOYMENT --group GROUP [--json], or zos log --verify FILE', {
      code: 'usage',
    })
  await using context = await openContext()
  const { group } = await groupOfDeployment(context, name, flags.group)
  const text = await exportLog(context.grid, group, name)
  if (flags.json) {
    process.stdout.write(text)
    return 0
  }
  const [keys, nodes, words] = await Promise.all([
    listKeys(keysDir()),
    nodesOf(context),
    readFarmersWords(context.grid, deploymentId(group, name)),
  ])
  const nameOf = (node: number) => nodes.find((n) => n.id === node)?.name ?? String(node)
  process.stdout.write(logText(decodeLog(text), keys) + farmersText(words, nameOf))
  return 0
}
