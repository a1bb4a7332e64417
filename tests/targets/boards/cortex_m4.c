/* What a Cortex-M4 needs before main: its vectors, and the arrays that the linker script leaves in flash copied to RAM. */
#include <stdint.h>
#include <string.h>

extern uint32_t stack_top, data_start, data_end, data_from, bss_start, bss_end;
extern void exit(int);
extern void initialise_monitor_handles(void); /* of newlib's semihosting: standard output is the debugger's */
int main(void);
void _init(void); /* newlib calls both where there are constructors, which C has none of */
void _fini(void);

void reset(void);
void stop(void);

void reset(void)
{
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* the floating-point unit on */
    memcpy(&data_start, &data_from, (size_t)((char *)&data_end - (char *)&data_start));
    memset(&bss_start, 0, (size_t)((char *)&bss_end - (char *)&bss_start));
    initialise_monitor_handles();
    exit(main());
}

void stop(void)
{
    exit(3);
}

void _init(void)
{
}

void _fini(void)
{
}

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {
    &stack_top, (void *)reset, (void *)stop, (void *)stop, (void *)stop, (void *)stop, (void *)stop,
};
