// SPDX-License-Identifier: GPL-2.0
/*
 * The CPU as a reference: see native.h.
 *
 * native_run() executes INT3.  Its signal handler exchanges the interrupted context for the state
 * under test, with TF set; the single-step trap, or a fault, comes to the same handler, which
 * notes the state and puts the first context back.
 */
#include "native.h"

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define XSTATE_HDR	512
#define XSTATE_YMM	576
#define FP_COPY		(XSTATE_YMM + 256)

u64 native_ldt[NR_LDT];
bool native_has_avx;
bool native_is_amd;

static struct native_state *guest;
static greg_t host_gregs[NGREG];
static u8 host_fp[FP_COPY];
static u16 host_gs;
static volatile bool inside;

static const int greg_of[16] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

static void set_data_segments(u16 ds, u16 es, u16 gs)
{
	u16 now;

	asm volatile("mov %0, %%ds; mov %1, %%es" : : "r"(ds), "r"(es));
	/* Loading GS changes its base: only if the selector differs */
	asm volatile("mov %%gs, %0" : "=r"(now));
	if (now != gs)
		asm volatile("mov %0, %%gs" : : "r"(gs));
}

/*
 * Vector registers to or from the frame: low halves as FXSAVE has them, high halves behind the
 * XSAVE header
 */
static void move_vec(u8 *fp, bool load)
{
	unsigned int i;

	for (i = 0; i < 16; i++) {
		u8 *lo = fp + 160 + 16 * i, *hi = fp + XSTATE_YMM + 16 * i;

		memcpy(load ? lo : guest->vec[i], load ? guest->vec[i] : lo, 16);
		if (native_has_avx)
			memcpy(load ? hi : guest->vec[i] + 16, load ? guest->vec[i] + 16 : hi, 16);
		if (i < 8)
			memcpy(load ? fp + 32 + 16 * i : (u8 *)&guest->mmx[i],
			       load ? (u8 *)&guest->mmx[i] : fp + 32 + 16 * i, 8);
	}
}

static void enter(ucontext_t *uc)
{
	greg_t *g = uc->uc_mcontext.gregs;
	u8 *fp = (u8 *)uc->uc_mcontext.fpregs;
	unsigned int i;

	memcpy(host_gregs, g, sizeof(host_gregs));
	for (i = 0; i < 16; i++)
		g[greg_of[i]] = (greg_t)guest->gpr[i];
	g[REG_RIP] = (greg_t)guest->rip;
	g[REG_EFL] = (greg_t)(guest->rflags | 0x100);
	g[REG_CSGSFS] =
		(greg_t)((g[REG_CSGSFS] & 0x0000ffffffff0000ll) | guest->cs | (u64)guest->ss << 48);
	if (guest->use_vec) {
		memcpy(host_fp, fp, FP_COPY);
		fp[XSTATE_HDR] |= native_has_avx ? 7 : 3;
		/*
		 * An x87 state that MMX registers can be seen in: no tag empty, no exception
		 * pending
		 */
		memset(fp, 0, 32);
		fp[0] = 0x7f;
		fp[1] = 0x03;
		fp[24] = 0x80;
		fp[25] = 0x1f;
		fp[4] = 0xff;
		move_vec(fp, true);
	}
	asm volatile("mov %%gs, %0" : "=r"(host_gs));
	inside = true;
	set_data_segments(guest->ds, guest->es, guest->gs);
}

static void leave(ucontext_t *uc)
{
	greg_t *g = uc->uc_mcontext.gregs;
	u8 *fp = (u8 *)uc->uc_mcontext.fpregs;
	unsigned int i;

	asm volatile("mov %%ds, %0; mov %%es, %1; mov %%gs, %2"
		     : "=r"(guest->ds), "=r"(guest->es), "=r"(guest->gs));
	set_data_segments(0, 0, host_gs);
	for (i = 0; i < 16; i++)
		guest->gpr[i] = (u64)g[greg_of[i]];
	guest->rip = (u64)g[REG_RIP];
	guest->rflags = (u64)g[REG_EFL];
	guest->cs = (u16)g[REG_CSGSFS];
	guest->ss = (u16)((u64)g[REG_CSGSFS] >> 48);
	guest->vector = (unsigned int)g[REG_TRAPNO];
	guest->error = (u64)g[REG_ERR];
	guest->cr2 = (u64)g[REG_CR2];
	if (guest->use_vec) {
		/* What is in its initial state need not be in the frame */
		if (!(fp[XSTATE_HDR] & 2))
			memset(fp + 160, 0, 256);
		if (!(fp[XSTATE_HDR] & 4))
			memset(fp + XSTATE_YMM, 0, 256);
		move_vec(fp, false);
		memcpy(fp, host_fp, FP_COPY);
	}
	memcpy(g, host_gregs, sizeof(host_gregs));
	inside = false;
}

static void handler(int sig, siginfo_t *info, void *context)
{
	/* The alignment check would hold for this function, too */
	asm volatile("pushfq; andl $~0x40000, (%%rsp); popfq" : : : "memory", "cc");
	(void)sig;
	(void)info;
	if (inside)
		leave(context);
	else
		enter(context);
}

void native_run(struct native_state *s)
{
	guest = s;
	/* NT and ID are not in the frame: clear what an earlier POPF or IRET may have left */
	asm volatile("pushfq; andl $~0x204000, (%%rsp); popfq; int3" : : : "memory", "cc");
}

void native_set_gs_base(u64 base)
{
	syscall(SYS_arch_prctl, ARCH_SET_GS, base);
}

static void set_ldt(unsigned int n, struct user_desc d)
{
	d.entry_number = n;
	ck_assert_int_eq(syscall(SYS_modify_ldt, 0x11, &d, sizeof(d)), 0);
}

static void init_ldt(void)
{
	const struct user_desc flat = {
		.limit = 0xfffff, .limit_in_pages = 1, .seg_32bit = 1, .useable = 1
	};
	struct user_desc d = flat;

	set_ldt(LDT_DATA32, d);
	d.contents = 2;
	set_ldt(LDT_CODE32, d);
	d.read_exec_only = 1;
	set_ldt(LDT_EXEC_ONLY, d);
	d.read_exec_only = 0;
	d.seg_not_present = 1;
	set_ldt(LDT_CODE_ABSENT, d);
	d.contents = 3;
	set_ldt(LDT_CONFORMING_ABSENT, d);
	d = flat;
	d.read_exec_only = 1;
	set_ldt(LDT_READ_ONLY, d);
	d = flat;
	d.seg_not_present = 1;
	set_ldt(LDT_ABSENT, d);
	d = (struct user_desc){ .base_addr = ARENA, .limit = ARENA_SIZE - 1, .useable = 1 };
	set_ldt(LDT_DATA16, d);
	d = (struct user_desc){
		.base_addr = CODE, .limit = CODE_SIZE - 1, .contents = 2, .useable = 1
	};
	set_ldt(LDT_CODE16, d);
	d = (struct user_desc){ .base_addr = ARENA, .limit = 0xfff, .contents = 1, .useable = 1 };
	set_ldt(LDT_EXPAND_DOWN, d);
	ck_assert_int_ge(syscall(SYS_modify_ldt, 0, native_ldt, sizeof(native_ldt)),
			 (int)sizeof(native_ldt));
}

static void map_fixed(unsigned long addr, unsigned long size, int prot)
{
	void *want = (void *)addr;

	ck_assert_ptr_eq(
		mmap(want, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
		want);
}

void native_init(void)
{
	static const int signals[] = { SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS };
	static u8 stack[65536] __attribute__((aligned(16)));
	const stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	unsigned int i;
	cpu_set_t cpu;

	/* CPUID and RDPID give the same on one CPU only */
	CPU_ZERO(&cpu);
	CPU_SET((size_t)sched_getcpu(), &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu);
	native_has_avx = __builtin_cpu_supports("avx");
	native_is_amd = __builtin_cpu_is("amd");
	map_fixed(ARENA, ARENA_SIZE, PROT_READ | PROT_WRITE);
	map_fixed(CODE, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
	init_ldt();
	sigaltstack(&ss, NULL);
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		/* A fault inside the handler must not be blocked into silence */
		sigaction(signals[i], &sa, NULL);
	}
}
