import { randomBytes } from 'node:crypto'
import { MODE, type SlotNetwork, type SlotSpec, type WantedSlot } from '#contract'
import { identityOf } from '#mycelium'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

const nameOf = ({ workload }: SlotSpec): string => String(workload.name)

/**
 * Gives every slot a key, and tells each the addresses and names of all: `WORKLOAD` for all its replicas, `WORKLOAD-SLOT`
 * for one. Slots that BEFORE (the specs that count now) had keep their keys, and so their addresses.
 */
export function giveAddresses(wanted: WantedSlot[], before: SlotSpec[]): WantedSlot[] {
  const secrets = new Map<number, string>()
  for (const { index, spec } of wanted) {
    const known = before.find((b) => nameOf(b) === nameOf(spec) && b.replica === spec.replica)
    // a standby is its primary elsewhere: the same key under the same number
    if (!secrets.has(index)) secrets.set(index, known?.network?.secret ?? hex(randomBytes(32)))
  }
  const members: SlotNetwork['members'] = wanted
    .filter(({ mode }) => mode !== MODE.standby)
    .map(({ index, spec }) => ({
      slot: index,
      names: [nameOf(spec), `${nameOf(spec)}-${index}`],
      address: hex(identityOf(Buffer.from(secrets.get(index)!, 'hex')).address),
    }))
  return wanted.map((w) => ({ ...w, spec: { ...w.spec, network: { secret: secrets.get(w.index)!, members } } }))
}
