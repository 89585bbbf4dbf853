#pragma once
#include "quickjs.h"

/* Puts `native` (see ../native.ts) on the global object. */
void native_install(JSContext *ctx);
