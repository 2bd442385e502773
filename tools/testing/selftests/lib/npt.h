/* SPDX-License-Identifier: GPL-2.0 */
/*
 * L1's nested page tables, in every format, built by L1 in its own memory; and an L2 that does one
 * access at a time.
 *
 * L2 runs on L1's own page tables, which are one to one, so that its linear addresses are its
 * physical ones; the program is one to one in the nested tables as well. Tests play in the gigabyte
 * from NPT_PLAY on, where the nested tables have nothing at first.
 */
#ifndef STRATA_SELFTEST_NPT_H
#define STRATA_SELFTEST_NPT_H

#include "svm.h"

enum npt_mode { NPT_32BIT, NPT_PAE, NPT_4LEVEL, NPT_5LEVEL };

struct npt {
	enum npt_mode mode;
	u64 root;
};

/* Where the tables come from: after the heap's first part, to the end of slot 0 */
#define NPT_POOL	(GPA_HEAP + 0x400000ull)
#define NPT_POOL_END	SLOT0_SIZE

#define NPT_PLAY	0x40000000ull

#define NPT_RWX		(PTE_P | PTE_W | PTE_U)

/* By the guest: tables with slot 0 one to one in 2M (4M) pages */
void npt_init(struct npt *n, enum npt_mode mode);
/* A page for a table, zeroed */
u64 npt_page(void);
/* The entry of an address at a level, with tables on the way; PAE's pointers are level 3 */
u64 npt_get(struct npt *n, u64 gpa, int level);
void npt_set(struct npt *n, u64 gpa, int level, u64 entry);
/* Where it is */
u64 npt_at(struct npt *n, u64 gpa, int level);

/* svm_guest_init() for an L2 under nested paging that runs npt_l2(). */
void npt_guest_init(struct npt *n, enum npt_mode mode);

enum npt_op { NPT_READ, NPT_WRITE, NPT_FETCH };

/*
 * L2 does one access, from where it stands: NPT_FETCH calls the address. Returns VMRUN's exit code:
 * SVM_EXIT_VMMCALL when it was done, with npt_value what was read.
 */
u64 npt_access(enum npt_op op, u64 addr);
extern volatile u64 npt_value;

#define EXIT_NPF	0x400
/* Bits of its EXITINFO1 beside those of a page fault's error code */
#define NPF_FINAL	(1ull << 32)
#define NPF_TABLE	(1ull << 33)

/* A page for L2, that begins with a RET, with @value at 8. */
u64 npt_data_page(u64 value);

/* The access is L1's nested page fault, with this error code. */
#define GUEST_ASSERT_NPF(op, addr, error)					\
	do {									\
		GUEST_ASSERT_EQ(npt_access(op, addr), EXIT_NPF);		\
		GUEST_ASSERT_EQ(svm_vmcb.exit_info_1, error);			\
		GUEST_ASSERT_EQ(svm_vmcb.exit_info_2, addr);			\
		GUEST_ASSERT_EQ(svm_vmcb.exit_int_info, 0);			\
	} while (0)

#define GUEST_ASSERT_DONE(op, addr)						\
	do {									\
		u64 code_ = npt_access(op, addr);				\
										\
		GUEST_ASSERT_EQ(code_, SVM_EXIT_VMMCALL);			\
		if (code_ == EXIT_NPF) {					\
			GUEST_ASSERT_EQ(svm_vmcb.exit_info_1, 0);		\
			GUEST_ASSERT_EQ(svm_vmcb.exit_info_2, 0);		\
		}								\
	} while (0)

#define GUEST_ASSERT_READ(addr, value)						\
	do {									\
		GUEST_ASSERT_DONE(NPT_READ, addr);				\
		GUEST_ASSERT_EQ(npt_value, value);				\
	} while (0)

/* A case that is L1, to its end */
void npt_run(void (*fn)(void));

/* Skips the case where guests are not offered nested paging. */
void need_npt(void);
/* ... or 5-level paging */
void need_la57(void);

#endif
