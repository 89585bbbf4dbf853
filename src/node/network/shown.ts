import { generateKeyPairSync } from 'node:crypto'
import { keyName, readsSigner } from '#cas'

/** What the node signed for a hub: the text that goes into `x-zos-for`, good until UNTIL (Unix seconds). */
export type Pass = { hub: string; text: string; until: number }

/** What hubs are shown: a key of this process alone, and the node's word that it asks in the node's name. */
export type Shown = {
  /** The key's name, to be signed for. */
  key: string
  set(passes: readonly Pass[]): void
  /** The headers for a read at HUB; undefined while nothing good was signed for it. */
  at(hub: string): Record<string, string> | undefined
}

export function whatIsShown(): Shown {
  const key = generateKeyPairSync('ed25519').privateKey
  let known = new Map<string, Pass & { reads: () => string }>()
  return {
    key: keyName(key),
    set(passes) {
      known = new Map(passes.map((p) => [p.hub, { ...p, reads: known.get(p.hub)?.reads ?? readsSigner(key, p.hub) }]))
    },
    at(hub) {
      const pass = known.get(hub)
      if (!pass || pass.until < Date.now() / 1000) return undefined
      return { 'x-zos-for': pass.text, authorization: pass.reads() }
    },
  }
}
