# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash

make_debug_kernel() { die "there is no debug kernel yet"; }
