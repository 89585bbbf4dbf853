import { resolve } from 'node:path'
import { ZosError } from '#codec'
import { callUnix } from '#sys'
import { places } from '#wire'

/** $ZOS_HUB with its folders named from the root: the daemon stands elsewhere than who starts it. */
export function namedHub(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const parts = (env.ZOS_HUB ?? '').split(',')
  return (
    parts.map((part) => part.replace(/^dir:(.+)$/, (_, path: string) => `dir:${resolve(path)}`)).join() || undefined
  )
}

/** Milliseconds for which the daemon is waited for at most. */
const PATIENCE = 3000

/**
 * Where what is published now goes: the hub of the daemon of this home where one runs, since it would look nowhere else.
 * Throws `other-hub` where $ZOS_HUB names another one.
 */
export async function hubInUse(): Promise<string | undefined> {
  const named = namedHub()
  const { api, home } = places()
  const asked = callUnix<{ hub?: string | null }>(api, 'GET', '/ping', { timeout: PATIENCE })
  const daemon = await asked.catch(() => undefined)
  if (daemon?.hub === undefined) return named
  if (named === undefined || named === daemon.hub) return daemon.hub ?? undefined
  const has = daemon.hub === null ? 'no hub but its own store' : `hub "${daemon.hub}"`
  throw new ZosError(
    `Publish to hub "${named}": the daemon of "${home}" was started with ${has}; unset ZOS_HUB, or "zos down" first, which ends what runs`,
    { code: 'other-hub' },
  )
}
