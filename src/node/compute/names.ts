import { randomBytes, randomInt } from 'node:crypto'
import { ZosError } from '#codec'

const FIRST =
  'amber brisk calm dapper early fair gentle hardy idle jolly keen lucid mellow noble opal plain quiet rapid solid tidy'.split(
    ' ',
  )
const SECOND =
  'alder birch cedar dune elm fjord grove heath inlet juniper kelp larch maple nettle oak pine quarry reed spruce thorn'.split(
    ' ',
  )

/** 64 hex digits, as Docker's. */
export const newId = (): string => randomBytes(32).toString('hex')

/** A readable name that TAKEN does not hold. */
export function newName(taken: (name: string) => boolean): string {
  for (let tries = 0; ; tries++) {
    const name = `${FIRST[randomInt(FIRST.length)]}-${SECOND[randomInt(SECOND.length)]}${tries > 4 ? `-${randomInt(1e6)}` : ''}`
    if (!taken(name)) return name
  }
}

/** Docker's rule for names. */
export function checkName(name: string): void {
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(name)) {
    throw new ZosError(
      `Name workload "${name.slice(0, 200)}": letters, digits, "_", "." and "-" are allowed, at most 128`,
      {
        code: 'bad-name',
      },
    )
  }
}
