/**
 * The most that one of many senders may have of what is bounded for all, by what is left of it (Choudhury and Hahne's dynamic
 * threshold): alone it gets four fifths, two get four ninths each, and who comes after them finds room. A number, so that what runs
 * for each packet makes no call more.
 */
export const OF_THE_REST = 4

/**
 * Whether a sender may add MORE to the HAS it already holds, TAKEN being held by all senders together and ALL being the limit:
 * afterwards it may hold at most four times what is then left to others.
 */
export const leavesRoom = (has: number, taken: number, more: number, all: number): boolean =>
  has + more <= OF_THE_REST * (all - taken - more)
