const OF_THE_REST = 4

/**
 * Whether a sender may add MORE to the HAS it already holds, TAKEN being held by all senders together and ALL being the limit:
 * afterwards it may hold at most four times what is then left to others.
 */
export const leavesRoom = (has: number, taken: number, more: number, all: number): boolean =>
  taken + more <= all && has + more <= OF_THE_REST * (all - taken - more)
