# SPDX-License-Identifier: GPL-2.0
svm-srcs := arch/x86/svm/asid.c arch/x86/svm/delivery.c arch/x86/svm/nested_check.c arch/x86/svm/nested_decode.c arch/x86/emulate/decode.c arch/x86/emulate/opcodes.c
