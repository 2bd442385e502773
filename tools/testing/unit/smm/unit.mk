# SPDX-License-Identifier: GPL-2.0
smm-srcs := arch/x86/smm/smram.c
