/* Build tool: JavaScript on standard input, its bytecode as a C array on standard output. */
#include "quickjs.h"
#include <stdio.h>
#include <stdlib.h>

int main(void) {
  size_t size = 0, room = 4 << 20, length;
  char *source = malloc(room);
  for (size_t got; (got = fread(source + size, 1, room - size - 1, stdin)) > 0;) size += got;
  source[size] = 0;
  JSRuntime *runtime = JS_NewRuntime();
  JS_SetStripInfo(runtime, JS_STRIP_SOURCE);
  JSContext *ctx = JS_NewContext(runtime);
  JSValue code = JS_Eval(ctx, source, size, "zinit", JS_EVAL_TYPE_GLOBAL | JS_EVAL_FLAG_STRICT | JS_EVAL_FLAG_COMPILE_ONLY);
  if (JS_IsException(code)) {
    fprintf(stderr, "%s\n", JS_ToCString(ctx, JS_GetException(ctx)));
    return 1;
  }
  uint8_t *out = JS_WriteObject(ctx, &length, code, JS_WRITE_OBJ_BYTECODE);
  if (!out) return 1;
  printf("#include <stdint.h>\nconst uint32_t program_size = %zu;\nconst uint8_t program[] = {", length);
  for (size_t i = 0; i < length; i++) printf("%u,", out[i]);
  printf("};\n");
  return 0;
}
