// Constants of the NBD protocol (NetworkBlockDevice/nbd doc/proto.md). Everything is big-endian.

export const INIT_MAGIC = 0x4e42444d41474943n // "NBDMAGIC"
export const OPTION_MAGIC = 0x49484156454f5054n // "IHAVEOPT"
export const OPTION_REPLY_MAGIC = 0x0003e889045565a9n

/** Handshake flags of the server, and those a client may answer with. */
export const FIXED_NEWSTYLE = 1
export const NO_ZEROES = 2

export const OPT = {
  EXPORT_NAME: 1,
  ABORT: 2,
  LIST: 3,
  INFO: 6,
  GO: 7,
  STRUCTURED_REPLY: 8,
  LIST_META_CONTEXT: 9,
  SET_META_CONTEXT: 10,
} as const

export const REP = {
  ACK: 1,
  SERVER: 2,
  INFO: 3,
  META_CONTEXT: 4,
  ERR_UNSUP: 0x80000001,
  ERR_INVALID: 0x80000003,
  ERR_UNKNOWN: 0x80000006,
} as const

export const INFO_EXPORT = 0
export const INFO_BLOCK_SIZE = 3

/** Transmission flags. */
export const FLAG = { HAS_FLAGS: 1, READ_ONLY: 2, SEND_DF: 0x80, CAN_MULTI_CONN: 0x100, SEND_CACHE: 0x400 } as const

export const REQUEST_MAGIC = 0x25609513
export const REQUEST_BYTES = 28
export const SIMPLE_REPLY_MAGIC = 0x67446698
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef

export const CMD = {
  READ: 0,
  WRITE: 1,
  DISC: 2,
  FLUSH: 3,
  TRIM: 4,
  CACHE: 5,
  WRITE_ZEROES: 6,
  BLOCK_STATUS: 7,
} as const
export const CMD_FLAG_DF = 4
export const CMD_FLAG_REQ_ONE = 8

export const REPLY_DONE = 1
export const REPLY = { NONE: 0, OFFSET_DATA: 1, OFFSET_HOLE: 2, BLOCK_STATUS: 5, ERROR: 0x8001 } as const

export const ERROR = { EPERM: 1, EIO: 5, EINVAL: 22, ESHUTDOWN: 108 } as const

/** The one metadata context, and the id it is given. */
export const ALLOCATION = 'base:allocation'
export const ALLOCATION_ID = 1
/** base:allocation of a run of zeros: NBD_STATE_HOLE | NBD_STATE_ZERO. */
export const STATE_ZERO = 3

/** No request may be longer: QEMU and libnbd keep to it. */
export const MAX_REQUEST = 32 << 20
