import { type MemberSet, ROLE } from '#contract'
import { addressOf } from '#mycelium'

/**
 * The overlay addresses of those of a group who may reach its workloads: whoever reads or approves. Their keys on the overlay
 * are those that specs are sealed to, which stand in the member set the group signed, so nobody has to be asked or believed.
 */
export const peopleOf = ({ members }: MemberSet): string[] =>
  members
    .filter(({ roles, seal }) => roles & (ROLE.read | ROLE.approve) && BigInt(seal) !== 0n)
    .map(({ seal }) => Buffer.from(addressOf(Buffer.from(seal.slice(2), 'hex'))).toString('hex'))
