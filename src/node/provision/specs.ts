import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { hubCall } from '#cas'
import { codeOf, sha256Hex, ZosError } from '#codec'
import { writeAtomic } from '#sys'

type Hex = `0x${string}`

export type Specs = { get(blob: Hex): Promise<Uint8Array> }

/** Sealed specs: kept here as they are at the hub, so that a slot can start again without it. Fetched through SOCKET. */
export function openSpecs(dir: string, socket: string): Specs {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const call = hubCall({ socketPath: socket }, 'network plane')
  return {
    async get(blob) {
      const hash = blob.slice(2)
      const path = join(dir, hash)
      try {
        const kept = readFileSync(path)
        if (sha256Hex(kept) === hash) return kept
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') throw error
      }
      const { status, body } = await call('GET', `/specs/${hash}`)
      if (status === 404)
        throw new ZosError(`Fetch sealed spec "${hash}": no hub has it`, { code: 'no-spec', kind: 'node' })
      if (sha256Hex(body) !== hash)
        throw new ZosError(`Fetch sealed spec "${hash}": the hub gave other bytes`, {
          code: 'blob-mismatch',
          kind: 'node',
        })
      await writeAtomic(path, body, { mode: 0o600 })
      return body
    },
  }
}
