// What a program needs of zod that reads little and must be small: of these functions `./zos` makes a file of 33 kB, where all
// of zod is 2.7 MB in memory. (tools/pack.ts; Node: "imports" in package.json, condition "packed".)
export {
  array,
  boolean,
  enum,
  exactOptional,
  int,
  maximum,
  maxLength,
  minimum,
  pipe,
  regex,
  strictObject,
  string,
  transform,
} from 'zod/mini'
