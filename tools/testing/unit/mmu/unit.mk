# SPDX-License-Identifier: GPL-2.0
mmu-srcs := arch/x86/mmu/nested_pure.c arch/x86/mmu/walk_pure.c
