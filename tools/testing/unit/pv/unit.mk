# SPDX-License-Identifier: GPL-2.0
pv-srcs := arch/x86/pv/scale.c
