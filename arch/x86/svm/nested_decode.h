/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which exit an instruction has (APM vol. 2, "Instruction Intercepts"), for those that the emulator
 * executes. Pure.
 */
#ifndef STRATA_NESTED_DECODE_H
#define STRATA_NESTED_DECODE_H

#include "../emulate/decode.h"

#define SVM_NO_EXIT	0xffff

/**
 * struct svm_insn_exit - the exit of an instruction
 * @code: SVM_EXIT_*, or SVM_NO_EXIT
 * @port: bytes of a port access, 0 if it is none: the I/O permission map decides
 * @port_imm: the port is the immediate, else in DX
 * @selective: writes to CR0 that may change more than TS and MP: the selective intercept counts too
 */
struct svm_insn_exit {
	u16 code;
	u8 port;
	bool port_imm;
	bool selective;
};

/**
 * svm_insn_exit() - find the exit of an instruction
 * @insn: as decoded
 * @x: filled in
 *
 * Left out: RDMSR and WRMSR, which the emulator does not execute, and task switches by far
 * transfers.
 */
void svm_insn_exit(const struct emu_insn *insn, struct svm_insn_exit *x);

#endif
