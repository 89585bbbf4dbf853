export type { ChunkBackend, Stored } from './backend.ts'
export { type Bucket, type BucketPlace, openBucket, parseBucketPlace } from './bucket.ts'
export { type ChunkId, chunkIdOf, isZero, LEAF_BLOCK, leafHashes, wholeBlocks, zeroLeaf } from './chunk.ts'
export { dirBackend } from './dir_backend.ts'
export {
  type HttpPlace,
  type Hub,
  type HubCall,
  type HubCallOptions,
  httpBackend,
  hubBackend,
  hubCall,
  parseHttpPlace,
  UPLOAD_HEADER,
} from './http_backend.ts'
export {
  type Grant,
  grants,
  keyName,
  readsSigner,
  signerOfReads,
  signerOfRequest,
  signGrant,
  signReads,
  signRequest,
} from './hub_auth.ts'
export { inTurn } from './merged.ts'
export {
  BATCH_BODY,
  BATCH_OBJECTS,
  decodeObjects,
  encodeObjects,
  type StoredObject,
  sizeInBatch,
} from './object_batch.ts'
export type { Content, PutChunk, PutContent } from './put.ts'
export { type Recompressed, recompress } from './recompress.ts'
export { s3Backend } from './s3_backend.ts'
export { hubsOf, severalBackends } from './several.ts'
export { type Counters, homeOf, openStore, type Store, type StoreOptions } from './store.ts'
export { type Kind, type Opened, open, seal } from './stored.ts'
export {
  blobsIn,
  type Collected,
  collect,
  DEFAULT_GRACE,
  type ScrubReport,
  scrub,
  type Usage,
  usage,
} from './upkeep.ts'
export { startWorkers, type Workers } from './workers.ts'
export { announceWriting } from './writers.ts'
