const OF_THE_REST = 4

/** Whether a sender that HAS so much of what is TAKEN of ALL may add MORE: it has at most four times what is left to others then. */
export const leavesRoom = (has: number, taken: number, more: number, all: number): boolean =>
  taken + more <= all && has + more <= OF_THE_REST * (all - taken - more)
