"use strict";
// A page of figures alone.
start();
