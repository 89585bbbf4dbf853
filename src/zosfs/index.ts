export { type Extent, type Synthesised, synthesise } from './disk/erofs.ts'
export { fsVerityDigest, verityTree } from './disk/verity.ts'
