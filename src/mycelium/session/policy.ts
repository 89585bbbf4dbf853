import { ZosError } from '#codec'

/** How bodies to and from one other node are to be sealed; what "either" means exactly: docs/formats/mycelium.md. */
export type Demand = 'session' | 'either' | 'legacy'

/** Public keys in hex. */
export type SealingPolicy = {
  /** Known to be ours: sessions only, whatever happens. */
  ours?: readonly string[]
  /** Known to speak the public protocol only. */
  legacy?: readonly string[]
  /** Everybody else. */
  others: 'session' | 'either'
}

/** A function that tells what is demanded of a key. Who is on both lists is ours: the stricter rule holds. */
export function readPolicy(policy: SealingPolicy): (publicKey: string) => Demand {
  const read = (keys: readonly string[] | undefined) =>
    new Set(
      (keys ?? []).map((key) => {
        if (!/^[0-9a-f]{64}$/i.test(key))
          throw new ZosError(`Read public key "${key}": not 64 hex digits; "./zos mycelium inspect" prints them`, {
            code: 'bad-key',
          })
        return key.toLowerCase()
      }),
    )
  const ours = read(policy.ours)
  const legacy = read(policy.legacy)
  return (key) => (ours.has(key) ? 'session' : legacy.has(key) ? 'legacy' : policy.others)
}
