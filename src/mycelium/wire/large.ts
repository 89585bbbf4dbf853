/**
 * Inner types of our own, which others drop unread: `kind u8 | 0 | largest packet u16`, and `segment size u16 | 0 0 |
 * packet`. They travel in frames whose third byte is PATH_MARK: our relays pass frames on as they are, others write that
 * byte anew as 0, so a mark that arrives proves that every hop carries frames of any size.
 */
export const CAPABILITY = 16
export const LARGE = 17
export const ASK = 0
export const ANSWER = 1
export const LARGE_HEADER = 4
export const PATH_MARK = 1
export const PATH_MARK_AT = 2
/** What a frame's 16-bit length leaves for a packet: sealing adds 32 bytes. */
export const LARGEST = 0xffff - 32 - LARGE_HEADER
