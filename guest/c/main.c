/* zinit: runs the compiled TypeScript, then its event loop for ever. */
#include "native.h"
#include <string.h>
#include <unistd.h>

extern const uint8_t program[];
extern const uint32_t program_size;

/* Onto the console; the reason the VM stops must not be lost. */
static void complain(JSContext *ctx) {
  JSValue error = JS_GetException(ctx), stack = JS_GetPropertyStr(ctx, error, "stack");
  JSValueConst parts[] = {error, stack};
  for (int i = 0; i < 2; i++) {
    const char *said = JS_ToCString(ctx, parts[i]);
    if (said && write(2, said, strlen(said)) && write(2, "\n", 1)) JS_FreeCString(ctx, said);
  }
  JS_FreeValue(ctx, error);
  JS_FreeValue(ctx, stack);
}

int main(int argc, char **argv) {
  if (argc == 2) return 0; /* see ../warm.ts */
  JSRuntime *runtime = JS_NewRuntime();
  JS_SetGCThreshold(runtime, 512 << 10);
  JSContext *ctx = JS_NewContextRaw(runtime), *other;
  JS_AddIntrinsicBaseObjects(ctx);
  JS_AddIntrinsicJSON(ctx);
  JS_AddIntrinsicMapSet(ctx);
  JS_AddIntrinsicTypedArrays(ctx);
  JS_AddIntrinsicPromise(ctx);
  native_install(ctx, argc > 3 ? argv[3] : NULL);
  JSValue code = JS_ReadObject(ctx, program, program_size, JS_READ_OBJ_BYTECODE | JS_READ_OBJ_ROM_DATA);
  JSValue result = JS_EvalFunction(ctx, code), global = JS_GetGlobalObject(ctx);
  JSValue tick = JS_GetPropertyStr(ctx, global, "tick");
  if (JS_IsException(result)) complain(ctx);
  while (JS_IsFunction(ctx, tick)) {
    while (JS_ExecutePendingJob(runtime, &other) > 0) {}
    result = JS_Call(ctx, tick, JS_UNDEFINED, 0, NULL);
    if (JS_IsException(result)) complain(ctx);
    JS_FreeValue(ctx, result);
  }
  return 1;
}
