#pragma once
#include "quickjs.h"

/* Puts `native` (see ../native.ts) on the global object; WANTED is what the kernel asked for, or NULL. */
void native_install(JSContext *ctx, const char *wanted);
